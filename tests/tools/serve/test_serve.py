"""The server with a trained network, asked by programs and by a browser."""

import argparse
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.browser import Page, browse
from tests.paths import ROOT
from tools import predict, serve
from tools.__main__ import main

pytestmark = pytest.mark.slow

CLIENTS = 50


@dataclass
class Server:
    """A server that runs."""

    process: subprocess.Popen[str]
    host: str
    port: int

    @property
    def address(self) -> str:
        return f"http://{self.host}:{self.port}/"

    def ask(
        self, method: str, path: str, body: Any = None, **options: Any
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of an answer."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=120)
        try:
            connection.request(method, path, body, **options)
            answer = connection.getresponse()
            return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
        finally:
            connection.close()

    def mistake(self, status: int, method: str, path: str, body: Any = None) -> str:
        found, _, content = self.ask(method, path, body)
        assert found == status, content
        error: str = json.loads(content)["error"]
        assert "\n" not in error
        return error


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures of many shapes."""
    folder = tmp_path_factory.mktemp("asked") / "pictures"
    folder.mkdir()
    rng = np.random.default_rng(3)
    for number in range(CLIENTS):
        shape = 16 + number % 5, 16 + number % 7, 3
        Image.fromarray(rng.integers(0, 256, shape, np.uint8)).save(folder / f"{number:02d}.png")
    return folder


@pytest.fixture(scope="module")
def server(trained_run: Path) -> Iterator[Server]:
    with started(trained_run, "--max-mb", "1", "--max-pixels", "100000") as server:
        yield server
        server.process.terminate()
        assert server.process.wait(60) == 128 + signal.SIGTERM


@contextmanager
def started(run: Path, *options: str, before: Callable[[], None] | None = None) -> Iterator[Server]:
    """A server that listens; ``before`` is called in its process before it begins."""
    with subprocess.Popen(
        [sys.executable, "-m", "tools", "serve", str(run), "--port", "0", *options],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=before,
    ) as process:
        assert process.stdout is not None
        told = []
        for line in process.stdout:
            told.append(line)
            if found := re.search(r"listening on http://([\d.]+):(\d+)", line):
                break
        assert found is not None, told
        yield Server(process, found[1], int(found[2]))


def test_answers_of_50_clients_are_those_of_predict(
    server: Server, trained_run: Path, pictures: Path, tmp_path: Path
) -> None:
    """Byte for byte, whatever came together, with the defaults of both."""
    out = tmp_path / "predicted"
    # A process of its own, as this one's convolutions are bound to AVX2 and so round otherwise.
    command = ["-m", "tools", "predict", str(trained_run), str(pictures), "--out", str(out)]
    subprocess.run([sys.executable, *command], cwd=ROOT, check=True)
    expected = (out / "predictions.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    files = sorted(pictures.iterdir())

    def ask(path: Path) -> bytes:
        # As predict calls it, and the files made of it.
        status, headers, body = server.ask("POST", f"/predict?name={path.name}", path.read_bytes())
        assert status == 200 and headers["content-type"] == "application/json"
        return body

    with ThreadPoolExecutor(CLIENTS) as clients:
        answers = list(clients.map(ask, files))
    for path, line, answer in zip(files, expected, answers, strict=True):
        told = json.loads(line)
        assert told["file"].endswith(path.name)
        assert answer.decode() == line.replace(json.dumps(told["file"]), json.dumps(path.name))


def test_broken_uploads(server: Server, pictures: Path) -> None:
    good = (pictures / "00.png").read_bytes()
    assert "not a picture" in server.mistake(422, "POST", "/predict", b"nothing of the kind")
    assert server.mistake(422, "POST", "/look", good[: len(good) // 2])
    assert "send one" in server.mistake(400, "POST", "/predict", b"")
    assert "--max-mb" in server.mistake(413, "POST", "/predict", b"x" * 1_000_001)
    # Without a length, as it comes.
    chunks = iter([b"x" * 600_000] * 2)
    assert "--max-mb" in server.mistake(413, "POST", "/predict", chunks)
    assert server.mistake(405, "GET", "/predict")
    assert server.mistake(404, "GET", "/nothing")
    with socket.create_connection((server.host, server.port)) as client:  # leaves half way
        client.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf")
    with socket.create_connection((server.host, server.port)) as client:
        client.sendall(b"\x16\x03\x01 no HTTP\r\n\r\n")
        assert client.recv(100).startswith(b"HTTP/1.1 400")
    assert json.loads(server.ask("GET", "/health")[2]) == {"status": "ok", "waiting": 0}
    status, _, body = server.ask("POST", "/predict?name=00.png", good)
    assert status == 200 and json.loads(body)["file"] == "00.png"


def test_mask_is_named_as_predict_names_that_of_one_file(
    server: Server, trained_run: Path, pictures: Path, tmp_path: Path
) -> None:
    out, picture = tmp_path / "predicted", pictures / "07.png"
    command = ["-m", "tools", "predict", str(trained_run), "07.png", "--out", str(out)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, *command], cwd=pictures, env=environment, check=True)
    expected = (out / "predictions.jsonl").read_bytes()
    assert b'"masks/coast_pixels/07.png"' in expected
    assert server.ask("POST", "/predict?name=07.png", picture.read_bytes())[2] == expected


def test_too_many_pixels_are_told_by_the_header(server: Server, tmp_path: Path) -> None:
    Image.new("L", (400, 300)).save(tmp_path / "large.png")
    Image.new("L", (300, 400)).save(tmp_path / "large.tif")
    for path in ("/predict", "/look"):
        header = (tmp_path / "large.png").read_bytes()[:60]
        told = server.mistake(422, "POST", path, header)
        assert (
            told == "400x300 are 120000 pixels, more than the 100000 that are taken (--max-pixels)"
        )
    assert "--max-pixels" in server.mistake(
        422, "POST", "/predict", (tmp_path / "large.tif").read_bytes()
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_as_soon_as_it_listens(trained_run: Path, number: signal.Signals) -> None:
    # Shells let what runs in the background ignore Ctrl-C.
    def ignoring() -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    with started(trained_run, before=ignoring) as server:
        server.process.send_signal(number)
        assert server.process.stdout is not None
        assert server.process.stdout.read() == ""
        assert server.process.wait(60) == 128 + number


def test_ctrl_c_after_an_answer(trained_run: Path, pictures: Path) -> None:
    """MindSpore takes Ctrl-C for itself with every graph that it runs."""
    with started(trained_run) as server:
        assert server.ask("POST", "/predict", (pictures / "00.png").read_bytes())[0] == 200
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(60) == 128 + signal.SIGINT


def test_health_check_of_the_image(server: Server) -> None:
    text = (ROOT / "Dockerfile").read_text().partition("AS serve")[2]
    words = json.loads(re.findall(r"HEALTHCHECK.*?CMD (\[.*?\])", text, re.S)[0])
    assert ":8000/health" in words[2]
    here = [word.replace(":8000/", f":{server.port}/") for word in words[1:]]
    assert subprocess.run([sys.executable, *here]).returncode == 0
    nobody = [word.replace(":8000/", ":1/") for word in words[1:]]
    assert subprocess.run([sys.executable, *nobody], stderr=subprocess.DEVNULL).returncode != 0


def test_page_in_a_browser(server: Server, pictures: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no picture")

    async def look(page: Page) -> None:
        await page.open(server.address)
        await page.wait("document.querySelector('#about').textContent.includes('coast_pixels')")
        await page.choose_file("#file", bad)
        await page.wait("document.querySelector('#told').textContent.includes('not a picture')")
        await page.choose_file("#file", pictures / "03.png")
        await page.wait("document.querySelectorAll('article').length === 4")
        titles = await page.value("[...document.querySelectorAll('h2')].map(e => e.textContent)")
        assert titles == ["coast", "fields", "roofs", "coast_pixels"]
        bars = "[...document.querySelectorAll('article:first-of-type .track i')]"
        shares = [
            float(width.rstrip("%"))
            for width in await page.value(f"{bars}.map(e => e.style.width)")
        ]
        assert len(shares) == 2 and abs(sum(shares) - 100) < 0.01
        # Four levels of attention for every task, and a mask with a legend for one.
        assert await page.value("document.querySelectorAll('.maps img').length") == 16
        shown = "[...document.querySelectorAll('article img')].every(i => i.complete && i.width)"
        await page.wait(shown)
        assert await page.value("document.querySelectorAll('.legend li').length") == 3
        captions = "[...document.querySelectorAll('article:first-of-type figcaption')]"
        sizes = await page.value(f"{captions}.map(e => e.textContent)")
        assert sizes[0] == "level 1, 16 × 16" and sizes[-1] == "level 4, 2 × 2"  # noqa: RUF001
        # Below each map its least, the colours, and its most.
        ends = "[...document.querySelectorAll('.maps .scale span')].map(e => +e.textContent)"
        limits = await page.value(ends)
        assert len(limits) == 32 and all(0 <= value <= 1 for value in limits)
        assert all(low <= high for low, high in zip(limits[::2], limits[1::2], strict=True))
        colours = "getComputedStyle(document.querySelector('.maps .scale i')).backgroundImage"
        assert (await page.value(colours)).startswith("linear-gradient")
        smallest = "Math.min(...[...document.querySelectorAll('.maps img')].map(e => e.width))"
        for width in (360, 700, 1024, 1400):
            await page.show(width)
            assert await page.value("document.documentElement.scrollWidth") <= width
            assert await page.value(smallest) >= 140
        box = "document.querySelector('%s').getBoundingClientRect().toJSON()"
        picture, card = [await page.value(box % one) for one in ("#original", "article")]
        assert picture["width"] > 100 and picture["right"] < card["left"]
        assert [a for a in page.requests() if not a.startswith(server.address)] == []
        # The picture that is none is answered by 422, which the browser tells.
        assert len(page.complaints()) <= 2

    browse(look)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--max-pixels", "0"], "--max-pixels 0: must be in 1.."),
        (["--port", "70000"], "--port 70000: must be in 0..65535"),
        (["--host", "nowhere.invalid"], "--host nowhere.invalid"),
        (["--tasks", "roof"], "did you mean roofs"),
        (["--checkpoint", "3"], "one of the steps"),
    ],
)
def test_mistakes(
    trained_run: Path, options: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--port", "0", *options] if "--port" not in options else options
    assert main(["serve", str(trained_run), *given]) == 2
    error = capsys.readouterr().err
    assert told in error and error.count("\n") == 1


def test_answers_are_computed_as_predict_computes_them() -> None:
    defaults = []
    for command, more in ((serve, []), (predict, ["--out", "DIR"])):
        parser = argparse.ArgumentParser()
        command.add_arguments(parser)
        defaults.append(parser.parse_args(["RUN", *more]))
    for option in ("batch", "device", "checkpoint", "tasks", "seen_as"):
        assert getattr(defaults[0], option) == getattr(defaults[1], option)
    assert defaults[0].max_pixels < defaults[1].max_pixels

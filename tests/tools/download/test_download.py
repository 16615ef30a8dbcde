"""``python -m tools download`` against a server on loopback: what comes, and how it breaks."""

import hashlib
import io
import json
import shutil
import subprocess
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.tools.commands import Outcome, Tools
from tests.tools.data_sets import encoded, picture
from tests.tools.download.file_server import Fault, FileServer, running
from tools.download import fetch
from tools.download.fetch import Part


@pytest.fixture(scope="module")
def server() -> Iterator[FileServer]:
    with running() as owner:
        yield owner


@pytest.fixture(scope="module")
def zipped() -> bytes:
    """Two classes of two and three pictures, in a folder as archives have it."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("Toy/readme.txt", "not a picture")
        for number, name in enumerate(("lake/a", "lake/b", "town/a", "town/b", "town/c")):
            archive.writestr(f"Toy/Images/{name}.png", encoded(picture(number), "PNG"))
    return buffer.getvalue()


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tools.download.fetch.time.sleep", lambda seconds: None)


@pytest.fixture
def download(tools: Tools, tmp_path: Path, zipped: bytes) -> Callable[..., Outcome]:
    """Runs the command with a registry of one data set, "toy"."""

    def run(urls: list[str], *options: object, **archive: Any) -> Outcome:
        known = {"file": "toy.zip", "urls": urls, "root": "Toy/Images", "bytes": len(zipped)}
        known |= {"md5": hashlib.md5(zipped).hexdigest(), **archive}
        about = {
            "title": "Toy",
            "kind": "scene",
            "classes": 2,
            "images": 5,
            "pixels": "12 x 10",
            "licence": None,
            "citation": None,
            "homepage": "http://toy.example",
            "archives": [known],
        }
        path = tmp_path / "registry.yaml"
        path.write_text(yaml.safe_dump({"datasets": {"toy": about}}))
        return tools("download", "toy", "--registry", path, "--out", tmp_path / "got", *options)

    return run


def pictures(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.png"))


FILES = ["lake/a.png", "lake/b.png", "town/a.png", "town/b.png", "town/c.png"]


def test_from_address_to_folder_and_done_once(
    server: FileServer,
    zipped: bytes,
    download: Callable[..., Outcome],
    tools: Tools,
    tmp_path: Path,
) -> None:
    url = server.add("toy.zip", zipped)
    result = download([url])
    assert result.code == 0, result.err
    toy = tmp_path / "got" / "toy"
    assert pictures(toy) == FILES
    assert [path.name for path in (tmp_path / "got").iterdir()] == ["toy"]
    assert "5 images in 2 classes; checked by md5" in result.out
    assert f"next: python -m tools prepare {toy} --out data/records/toy" in result.out
    assert json.loads((toy / ".download.json").read_text())["md5"] == (
        hashlib.md5(zipped).hexdigest()
    )

    again = download([url])
    assert again.code == 0 and "already there" in again.out
    assert len(server.files["toy.zip"].ranges) == 1
    (toy / "lake" / "a.png").unlink()
    download([url]).assert_error("exists already", "--overwrite")
    assert download([url], "--overwrite").code == 0 and pictures(toy) == FILES


def test_prepare_takes_what_it_made(
    server: FileServer,
    zipped: bytes,
    download: Callable[..., Outcome],
    tools: Tools,
    tmp_path: Path,
) -> None:
    assert download([server.add("prepared.zip", zipped)]).code == 0
    toy = tmp_path / "got" / "toy"
    prepared = tools("prepare", toy, "--out", tmp_path / "records", "--workers", 1)
    assert prepared.code == 0, prepared.err


def test_goes_on_where_it_broke_off(
    server: FileServer, zipped: bytes, download: Callable[..., Outcome], tmp_path: Path
) -> None:
    url = server.add("broken.zip", zipped, Fault(cut=700), Fault(status=503), Fault(cut=300))
    assert download([url]).code == 0
    assert server.files["broken.zip"].ranges == [None, *["bytes=700-"] * 2, "bytes=1000-"]
    assert pictures(tmp_path / "got" / "toy") == FILES


def test_next_call_goes_on_too(
    server: FileServer, zipped: bytes, download: Callable[..., Outcome], tmp_path: Path
) -> None:
    url = server.add("twice.zip", zipped, Fault(cut=500), Fault(cut=100))
    first = download([url], "--tries", 2)
    assert first.code == 1 and "the connection broke after 600 of" in first.err, first.err
    assert (tmp_path / "got" / "toy.zip.part").read_bytes() == zipped[:600]
    assert not (tmp_path / "got" / "toy").exists()
    assert download([url]).code == 0
    assert server.files["twice.zip"].ranges == [None, "bytes=500-", "bytes=600-"]
    assert pictures(tmp_path / "got" / "toy") == FILES


def test_begins_again_where_the_server_cannot_go_on(
    server: FileServer, zipped: bytes, download: Callable[..., Outcome], tmp_path: Path
) -> None:
    url = server.add("whole.zip", zipped, Fault(cut=500), Fault(ranges=False))
    assert download([url]).code == 0
    assert server.files["whole.zip"].ranges == [None, "bytes=500-"]
    assert pictures(tmp_path / "got" / "toy") == FILES


@pytest.mark.parametrize("careless", [False, True])
def test_begins_again_when_the_file_has_changed(
    careless: bool,
    server: FileServer,
    zipped: bytes,
    download: Callable[..., Outcome],
    tmp_path: Path,
) -> None:
    """Also where the server sends the rest of the new file as if it were that of the old one."""
    url = server.add("changed.zip", bytes(len(zipped)), Fault(cut=500))
    assert download([url], "--tries", 1).code == 1
    served = server.files["changed.zip"]
    served.data, served.tag, served.faults = zipped, '"v2"', [Fault(careless=careless)]
    assert download([url]).code == 0
    assert served.ranges == [None, "bytes=500-", *([None] if careless else [])]
    assert pictures(tmp_path / "got" / "toy") == FILES


def test_part_that_is_longer_than_the_file(
    server: FileServer, zipped: bytes, download: Callable[..., Outcome], tmp_path: Path
) -> None:
    url = server.add("long.zip", zipped, Fault(cut=500))
    assert download([url], "--tries", 1).code == 1
    with (tmp_path / "got" / "toy.zip.part").open("ab") as part:
        part.write(bytes(len(zipped)))
    assert download([url]).code == 0


def test_silent_server_counts_as_broken(
    server: FileServer, zipped: bytes, download: Callable[..., Outcome], tmp_path: Path
) -> None:
    url = server.add("slow.zip", zipped, Fault(cut=400, stall=True))
    assert download([url], "--timeout", 0.3).code == 0
    assert server.files["slow.zip"].ranges == [None, "bytes=400-"]


def test_sources_in_turn(
    server: FileServer, zipped: bytes, download: Callable[..., Outcome], tmp_path: Path
) -> None:
    wrong = bytearray(zipped)
    wrong[600] ^= 1
    urls = [
        server.url("missing.zip"),
        server.add("login.zip", zipped, Fault(page=True)),
        server.add("short.zip", zipped[:-1]),
        server.add("flipped.zip", bytes(wrong)),
    ]
    failed = download(urls)
    assert failed.code == 1 and not (tmp_path / "got" / "toy").exists()
    errors = [line for line in failed.err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    for reason in ("404", "a web page instead", "another file", "its md5 is"):
        assert reason in errors[0]
    assert list((tmp_path / "got").iterdir()) == []

    server.add("moved.zip", b"")
    server.files["moved.zip"].redirect = server.add("good.zip", zipped)
    assert download([*urls, server.url("moved.zip")], "--keep-archive").code == 0
    assert (tmp_path / "got" / "toy.zip").read_bytes() == zipped
    # An archive that is there is not fetched again.
    shutil.rmtree(tmp_path / "got" / "toy")
    assert download(["http://127.0.0.1:9/toy.zip"]).code == 0


def test_proxy_of_the_environment(
    server: FileServer,
    zipped: bytes,
    download: Callable[..., Outcome],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server.add("proxied.zip", zipped)
    monkeypatch.setenv("http_proxy", server.url(""))
    monkeypatch.setenv("no_proxy", "")
    assert download(["http://data.example/proxied.zip"]).code == 0
    assert server.seen[-1].startswith("GET http://data.example/proxied.zip ")


def test_no_room(
    server: FileServer,
    zipped: bytes,
    download: Callable[..., Outcome],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    url = server.add("room.zip", zipped)
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr("tools.download.fetch.shutil.disk_usage", lambda path: usage)
    download([url]).assert_error("no room", "--out")
    monkeypatch.undo()

    class Full:
        name = "toy.zip.part"

        def write(self, block: bytes) -> None:
            raise OSError(28, "No space left on device")

    with pytest.raises(Exception, match="No space left on device; what is there is kept"):
        fetch._write(Full(), b"x")  # type: ignore[arg-type]


def test_two_at_a_time(
    server: FileServer, zipped: bytes, download: Callable[..., Outcome], tmp_path: Path
) -> None:
    url = server.add("locked.zip", zipped)
    with Part(tmp_path / "got" / "toy.zip").opened():
        download([url]).assert_error("another process is fetching it")


def test_file_that_the_user_fetched(
    zipped: bytes, download: Callable[..., Outcome], tmp_path: Path
) -> None:
    page = "http://toy.example/share"
    download([], by_hand=[page]).assert_error("by hand", page, "--archive FILE")
    mine = tmp_path / "Downloads.zip"
    mine.write_bytes(zipped)
    result = download([], "--archive", mine, by_hand=[page])
    assert result.code == 0, result.err
    assert pictures(tmp_path / "got" / "toy") == FILES and mine.exists()

    mine.write_bytes(zipped + b"x")
    again = ("--archive", mine, "--overwrite")
    download([], *again).assert_error(str(mine), "bytes instead of")
    # Without a digest on record the pictures are counted, wherever they lie in the archive.
    unknown = {"md5": None, "bytes": None, "root": None}
    result = download([], *again, **unknown)
    assert result.code == 0 and "no digest is on public record" in result.out
    assert pictures(tmp_path / "got" / "toy") == FILES
    with zipfile.ZipFile(mine, "a") as archive:
        archive.writestr("Toy/Images/town/d.png", "")
    download([], *again, **unknown).assert_error("2 class folders with 6 images instead of 2")
    assert pictures(tmp_path / "got" / "toy") == FILES


def test_names_that_are_not_utf8(
    download: Callable[..., Outcome], tmp_path: Path, zipped: bytes
) -> None:
    path = tmp_path / "mine.zip"
    path.write_bytes(zipped.replace(b"lake", "机场".encode("gbk")))
    md5 = hashlib.md5(path.read_bytes()).hexdigest()
    result = download(["http://toy.example/toy.zip"], "--archive", path, md5=md5)
    assert result.code == 0, result.err
    assert "note: the names in mine.zip are not UTF-8; they were read as GBK\n" in result.out
    assert (tmp_path / "got/toy/机场/a.png").is_file()


def test_content_is_checked_by_git_tree(
    server: FileServer, zipped: bytes, download: Callable[..., Outcome], tmp_path: Path
) -> None:
    url = server.add("tree.zip", zipped)
    # `git write-tree` over the five files says so.
    known = {"md5": None, "bytes": None, "git_tree": git_tree_by_git(zipped, tmp_path)}
    assert download([url], **known).code == 0
    known["git_tree"] = "0" * 40
    failed = download([url], "--overwrite", **known)
    assert failed.code == 2 and "git's tree id" in failed.err
    assert pictures(tmp_path / "got" / "toy") == FILES
    # Nobody vouches for the archive, so it is not kept.
    assert not (tmp_path / "got" / "toy.zip").exists()


def git_tree_by_git(zipped: bytes, folder: Path) -> str:
    work = folder / "work"
    with zipfile.ZipFile(io.BytesIO(zipped)) as archive:
        archive.extractall(work)
    git = ["git", "-C", str(work / "Toy" / "Images")]
    for command in (["init", "-q"], ["add", "."]):
        subprocess.run([*git, *command], check=True)
    ended = subprocess.run([*git, "write-tree"], check=True, capture_output=True, text=True)
    return ended.stdout.strip()


def test_mistakes(tools: Tools, tmp_path: Path) -> None:
    tools("download", "atlantis").assert_error("atlantis", "ucm, eurosat, nwpu, aid, rsscn7")
    tools("download").assert_error("--list")
    tools("download", "ucm", "aid", "--archive", "x").assert_error("one NAME")
    tools("download", "aid", "--archive", tmp_path / "x.zip").assert_error("no such file")
    (tmp_path / "file").write_text("")
    tools("download", "ucm", "--out", tmp_path / "file").assert_error("file")
    bad = tmp_path / "bad.yaml"
    bad.write_text("datasets: {x: {title: X}}")
    tools("download", "x", "--registry", bad).assert_error(str(bad), "datasets.x.kind")

"""``python -m tools copy``: what it says, and its exit codes."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.object_store import SECRET, ObjectStore, proxy_before
from tests.paths import ROOT


@pytest.fixture(autouse=True)
def variables(object_store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in object_store.variables.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "src"
    folder.mkdir()
    (folder / "a").write_bytes(bytes(1_500_000))
    (folder / "b").write_bytes(b"b")
    return folder


def test_what_it_says(
    source: Path, object_store: ObjectStore, tools: Callable[..., Any], tmp_path: Path
) -> None:
    url = object_store.url("x")
    result = tools("copy", source, url)
    assert result.code == 0, result.err
    begin, end = result.out.splitlines()
    assert begin == "copying 2 files (1.5 MB) ..."
    assert end.startswith(f"copied 2 files (1.5 MB) from {source} to {url} in ")
    assert end.endswith(" s; 0 were there already")
    [line] = tools("copy", source, url).out.splitlines()
    assert line.startswith("copied 0 files") and line.endswith("; 2 were there already")
    assert tools("copy", source, url, "--all").out.startswith("copying 2 files")
    assert tools("copy", url, tmp_path / "back").code == 0
    assert (tmp_path / "back/a").stat().st_size == 1_500_000


def test_mistakes_and_failures(
    source: Path, object_store: ObjectStore, tools: Callable[..., Any], tmp_path: Path
) -> None:
    missing = object_store.url("missing")
    tools("copy", missing, tmp_path / "x").assert_error(f"{missing}: there is nothing")
    assert tools("copy", missing, tmp_path / "x", "--missing-ok").code == 0
    tools("copy", source, "s3://no-such-bucket-xyz/").assert_error("does not exist")
    tools("copy", source, tmp_path / "x", "--tries", "0").assert_error("--tries must be at least 1")


def test_a_store_that_does_not_answer(
    source: Path, tools: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not the user's mistake, so the exit code is another one."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    result = tools("copy", source, "s3://bucket/x", "--tries", "2")
    assert result.code == 1
    [line] = result.err.splitlines()
    assert line.startswith("error: s3://bucket/x: Could not connect to the endpoint URL")
    assert line.endswith("(2 tries)") and SECRET not in line


def test_a_signal_ends_it_and_nothing_half_is_left(
    object_store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    object_store.put("x/a", bytes(300_000))
    with proxy_before(object_store.endpoint) as proxy:
        proxy.faults.extend([None, *["truncate"] * 100])  # it never gets the whole file
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
        command = [
            sys.executable,
            "-m",
            "tools",
            "copy",
            object_store.url("x"),
            str(tmp_path / "back"),
        ]
        process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE)
        deadline = time.monotonic() + 60
        while len(proxy.faults) > 99:
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        err = process.communicate(timeout=120)[1]
    assert process.returncode == 128 + signal.SIGTERM, err
    assert err == b""
    assert list((tmp_path / "back").iterdir()) == []

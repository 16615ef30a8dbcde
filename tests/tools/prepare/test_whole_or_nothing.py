"""python -m tools prepare: the output is whole, old or absent."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.paths import ROOT
from tests.tools.commands import Tools
from tests.tools.data_sets import encoded, entries, picture, read_records
from tools.common.output_folder import whole_folder


def test_existing_output(source: Path, tools: Tools, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert tools("prepare", source, "--out", out).code == 0
    before = (out / "manifest.json").read_bytes()
    tools("prepare", source, "--out", out, "--seed", 1).assert_error("out", "--overwrite")
    assert (out / "manifest.json").read_bytes() == before
    # A failure leaves the old one.
    (source / "town" / "bad.png").write_bytes(b"")
    failed = tools("prepare", source, "--out", out, "--overwrite")
    failed.assert_error("1 unreadable picture:")
    assert (out / "manifest.json").read_bytes() == before and len(read_records(out, "train")) == 15
    (source / "town" / "bad.png").unlink()
    assert tools("prepare", source, "--out", out, "--overwrite", "--seed", 1).code == 0
    assert (out / "manifest.json").read_bytes() != before
    assert entries(tmp_path) == ["out", "src"]


def test_overwrite_leaves_other_folders_alone(source: Path, tools: Tools, tmp_path: Path) -> None:
    other = tmp_path / "thesis"
    other.mkdir()
    (other / "chapter1").write_text("years of work")
    tools("prepare", source, "--out", other, "--overwrite").assert_error("thesis")
    tools("prepare", source, "--out", source, "--overwrite").assert_error("SRC")
    tools("prepare", source, "--out", tmp_path, "--overwrite").assert_error("SRC")
    assert entries(other) == ["chapter1"] and len(entries(source)) == 3


def test_replaced_in_one_step(tmp_path: Path) -> None:
    out = tmp_path / "out"
    missing = 0
    done = threading.Event()

    def watch() -> None:
        nonlocal missing
        while not done.is_set():
            missing += not (out / "file").exists()

    with whole_folder(out, True, lambda folder: True) as folder:
        (folder / "file").write_text("0")
    watcher = threading.Thread(target=watch)
    watcher.start()
    for number in range(60):
        with whole_folder(out, True, lambda folder: True) as folder:
            (folder / "file").write_text(str(number))
    done.set()
    watcher.join()
    assert missing == 0
    assert (out / "file").read_text() == "59" and entries(tmp_path) == ["out"]


def start(arguments: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tools", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # As a shell does it: a group of its own, which Ctrl-C reaches as a whole.
        start_new_session=True,
    )


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert process.poll() is None, "ended too early"
        assert time.monotonic() < end, "never got there"
        time.sleep(0.01)


def children(pid: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        found += [int(child) for child in (task / "children").read_text().split()]
    return found


@pytest.fixture
def slow_source(source: Path) -> Path:
    """Pictures that take some seconds to decode, so that there is time to interrupt."""
    large = source / "water" / "large.png"
    large.write_bytes(encoded(picture(1, (1300, 1300)), "PNG", compress_level=1))
    for number in range(30):
        (source / "water" / f"large_{number}.png").hardlink_to(large)
    return source


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "group", "old", "when"),
    [
        (signal.SIGTERM, False, True, "work/spool"),
        (signal.SIGTERM, True, False, "*.mindrecord*"),
        (signal.SIGINT, True, False, "work/spool"),
    ],
)
def test_interruption_leaves_nothing_or_the_old(
    number: signal.Signals, group: bool, old: bool, when: str, slow_source: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    arguments = [str(slow_source), "--out", str(out), "--workers", "2", "--duplicates", "allow"]
    if old:
        out.mkdir()
        (out / "manifest.json").write_text(json.dumps({"format": "mtln-records"}))
        arguments.append("--overwrite")
    process = start(["prepare", *arguments])
    wait_for(lambda: any(f.stat().st_size for f in tmp_path.glob(f".out.*/{when}")), process)
    workers = children(process.pid)
    # They are gone once all is decoded.
    assert len(workers) >= 2 or when != "work/spool"
    (os.killpg if group else os.kill)(process.pid, number)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 128 + number and "Traceback" not in err
    assert entries(tmp_path) == (["out", "src"] if old else ["src"])
    assert entries(out) == ["manifest.json"] if old else not out.exists()
    wait_until_gone(workers)


def test_workers_end_when_their_parent_is_killed(slow_source: Path, tmp_path: Path) -> None:
    process = start(["prepare", str(slow_source), "--out", str(tmp_path / "out"), "--workers", "2"])
    wait_for(lambda: len(children(process.pid)) >= 3, process)
    time.sleep(0.5)
    workers = children(process.pid)
    process.kill()
    try:
        wait_until_gone(workers)
    finally:
        # A worker left over would hold the pipes of its standard streams open for ever.
        for pid in filter(runs, workers):
            os.kill(pid, signal.SIGKILL)
        process.communicate()
    assert not (tmp_path / "out").exists()


def wait_until_gone(pids: list[int]) -> None:
    end = time.monotonic() + 30
    while any(runs(pid) for pid in pids):
        assert time.monotonic() < end, "workers are left over"
        time.sleep(0.05)


def runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False

"""One owner per run folder, as several processes and machines see it."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from tests.paths import ROOT
from train.config.reader import load_config
from train.errors import UserError
from train.run import ownership
from train.run.checkpoint import Checkpoint
from train.run.ownership import Ownership, require_free
from train.run.run_folder import RunFolder
from train.storage.locks import Lock

OWNER = """
import sys, time
from pathlib import Path
from train.run.ownership import Ownership
owner = Ownership(Path(sys.argv[1]))
print("mine", flush=True)
sys.stdin.readline()
owner.release()
"""


@pytest.fixture
def other(tmp_path: Path) -> "subprocess.Popen[str]":
    """Another process that owns tmp_path / "run"."""
    process = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(tmp_path / "run")],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout and process.stdout.readline() == "mine\n"
    return process


def from_elsewhere(folder: Path) -> None:
    """Make the note in a folder one of another machine's."""
    note = json.loads((folder / ".owner").read_text())
    (folder / ".owner").write_text(json.dumps({**note, "host": "node-7", "machine": "node-7 x"}))


def test_a_second_owner_is_refused_until_the_first_ends(
    other: "subprocess.Popen[str]", tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    named = rf"^run_dir: {folder} is in use by process {other.pid} on \S+, since .* run_dir=\.\.\.$"
    with pytest.raises(UserError, match=named):
        require_free(folder)
    with pytest.raises(UserError, match=named):
        Ownership(folder)
    other.communicate("end\n")
    require_free(folder)
    Ownership(folder).release()


def test_after_a_crash_the_folder_is_free_at_once(
    other: "subprocess.Popen[str]", tmp_path: Path
) -> None:
    other.send_signal(signal.SIGKILL)
    other.wait()
    assert (tmp_path / "run/.owner").exists()
    told: list[str] = []
    Ownership(tmp_path / "run", told.append).release()
    assert told == []


def test_nothing_is_left_of_a_run_that_has_not_begun(tmp_path: Path) -> None:
    Ownership(tmp_path / "new").release()
    assert not (tmp_path / "new").exists()
    owner = Ownership(tmp_path / "run")
    (tmp_path / "run/config.yaml").touch()
    owner.release()
    owner.release()
    assert {path.name for path in (tmp_path / "run").iterdir()} == {".lock", "config.yaml"}


def test_who_has_begun_nothing_leaves_what_another_has_made_anew(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    before = Ownership(folder)
    shutil.rmtree(folder)
    following = Ownership(folder)
    before.release()
    following.require()
    with pytest.raises(UserError, match="is in use"):
        require_free(folder)
    following.release()
    assert not folder.exists()


def test_an_owner_elsewhere_that_still_touches_its_note(tmp_path: Path) -> None:
    """As over a file system whose locks do not reach other machines: here the lock is free."""
    first = Ownership(tmp_path)
    first._lock.free()
    first._lock = Lock(tmp_path / ".unused")
    from_elsewhere(tmp_path)
    stop = threading.Event()

    def touch() -> None:
        while not stop.wait(0.05):
            os.utime(tmp_path / ".owner")

    toucher = threading.Thread(target=touch)
    toucher.start()
    told: list[str] = []
    try:
        with pytest.raises(UserError, match=r"in use by process .* on node-7"):
            Ownership(tmp_path, told.append, watch_seconds=30)
    finally:
        stop.set()
        toucher.join()
    assert "node-7" in told[0]


def test_an_owner_elsewhere_that_has_crashed(tmp_path: Path) -> None:
    first = Ownership(tmp_path)
    first._released.set()
    first._lock.free()
    from_elsewhere(tmp_path)
    Ownership(tmp_path, watch_seconds=0.3).release()
    assert not (tmp_path / ".owner").exists()


def test_an_owner_elsewhere_that_ends_meanwhile(tmp_path: Path) -> None:
    """Its note goes with it: the folder is free, and not in use by nobody."""
    first = Ownership(tmp_path)
    first._released.set()
    first._lock.free()
    from_elsewhere(tmp_path)
    end = threading.Timer(0.2, (tmp_path / ".owner").unlink)
    Ownership(tmp_path, lambda _: end.start(), watch_seconds=30).release()
    end.join()


def test_the_owner_touches_its_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ownership, "_TOUCH_SECONDS", 0.02)
    owner = Ownership(tmp_path)
    before = (tmp_path / ".owner").stat().st_mtime_ns
    deadline = time.monotonic() + 30
    while (tmp_path / ".owner").stat().st_mtime_ns == before:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    owner.release()


def test_a_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lustre without the option flock; the note alone keeps others out."""

    def no_locks(self: Lock, shared: bool = False) -> bool:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(Lock, "take", no_locks)
    monkeypatch.setattr(ownership, "_TOUCH_SECONDS", 0.05)
    owner = Ownership(tmp_path)
    with pytest.raises(UserError, match="is in use"):
        Ownership(tmp_path, watch_seconds=30)
    owner.release()
    Ownership(tmp_path).release()


def test_of_two_without_locks_that_come_at_once_the_last_to_write_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(self: Lock, shared: bool = False) -> bool:
        raise OSError(38, "Function not implemented")

    def write(seconds: float) -> None:
        from_elsewhere(tmp_path)
        note = json.loads((tmp_path / ".owner").read_text())
        (tmp_path / ".owner").write_text(json.dumps({**note, "token": "another"}))

    monkeypatch.setattr(Lock, "take", no_locks)
    monkeypatch.setattr(time, "sleep", write)
    with pytest.raises(UserError, match=r"is in use by process .* on node-7"):
        Ownership(tmp_path)


def test_a_note_that_is_gone_is_nobody_else_s(tmp_path: Path) -> None:
    """As of a disk that has gone for a while: the run goes on."""
    owner = Ownership(tmp_path)
    (tmp_path / ".owner").unlink()
    owner.require()
    (tmp_path / ".owner").write_text("{")
    owner.require()
    owner.release()


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"^run_dir: .*/file/run: Not a directory"):
        Ownership(tmp_path / "file" / "run")


def test_a_folder_that_was_removed_belongs_to_who_makes_it_anew(tmp_path: Path) -> None:
    """The run before may come back with its disk, but not into the folder of another run."""
    folder, config = tmp_path / "run", tmp_path / "config.yaml"
    config.write_text("datasets: {a: {records: a}}\nschedule: {steps: 9}\n")
    owner = Ownership(folder)
    run = RunFolder(load_config(config, [f"run_dir={folder}"]), True, owner)
    run.start(0, 1000)
    run.log(1, 1)
    shutil.rmtree(folder)
    run.log(2, 2)  # waits in memory
    following = Ownership(folder)
    (folder / "config.yaml").touch()
    taken = rf"^run_dir: {folder} was removed .*process {os.getpid()} on .*, has taken it"
    with pytest.raises(UserError, match=taken):
        run.log(3, 3)
    run.save_checkpoint(Checkpoint(3, {"w": np.zeros(3, np.float32)}, {}, {}))
    with pytest.raises(UserError, match=taken):
        run.settle(0.0, lambda: None)
    run.close()
    following.require()
    assert {path.name for path in folder.iterdir()} == {".lock", ".owner", "config.yaml"}
    following.release()

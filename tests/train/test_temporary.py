"""Temporary folders of processes that are killed, and of those that are not."""

import fcntl
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.paths import ROOT
from train import temporary
from train.temporary import lasting_folder, remove_lasting, temporary_folder

OWNER = """
import sys, time
from train.temporary import lasting_folder, temporary_folder
with temporary_folder() as folder:
    (folder / "content").write_text("x")
    print(folder, lasting_folder(), flush=True)
    {then}
"""


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary folders are made, also those of other processes."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(temporary, "_lasting", {})
    return tmp_path


def owner(then: str) -> tuple["subprocess.Popen[str]", list[Path]]:
    """Another process that has made one of each kind."""
    process = subprocess.Popen(
        [sys.executable, "-c", OWNER.format(then=then)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout
    return process, [Path(word) for word in process.stdout.readline().split()]


def test_folders_of_killed_processes_go_and_others_stay(place: Path) -> None:
    killed, abandoned = owner("time.sleep(600)")
    living, kept = owner("time.sleep(600)")
    try:
        killed.send_signal(signal.SIGKILL)
        killed.communicate()
        assert all(folder.is_dir() for folder in (*abandoned, *kept))
        elsewhere = place / "elsewhere"
        elsewhere.mkdir()
        (place / f"{temporary.PREFIX}link").symlink_to(elsewhere)
        of_others = place / "mtln-of-another-program"
        of_others.mkdir()
        with temporary_folder() as own:
            assert own.stat().st_mode & 0o777 == 0o700
            assert not any(folder.exists() for folder in abandoned)
            assert all(folder.is_dir() for folder in (*kept, elsewhere, of_others))
            with temporary_folder():
                assert own.exists()
        assert not own.exists()
    finally:
        living.kill()
        living.communicate()


def test_what_somebody_removes_before_it_is_locked_is_made_again(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock, others = fcntl.flock, [temporary._remove_abandoned]

    def lock_too_late(handle: int, kind: int) -> None:
        if others:
            others.pop()(place)
        lock(handle, kind)

    monkeypatch.setattr(fcntl, "flock", lock_too_late)
    with temporary_folder() as folder:
        assert not others and list(place.iterdir()) == [folder]


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder to another user")
def test_folders_of_other_users_stay(place: Path) -> None:
    foreign = place / f"{temporary.PREFIX}foreign"
    foreign.mkdir()
    os.chown(foreign, 12345, 12345)
    with temporary_folder():
        assert foreign.exists()


@pytest.mark.parametrize("then", ["sys.exit(3)", "raise SystemExit", "pass"])
def test_nothing_is_left_at_the_end(place: Path, then: str) -> None:
    process, folders = owner(then)
    process.communicate()
    assert len(folders) == 2
    assert not list(place.iterdir())


def test_lasting_folder_goes_when_asked_to(place: Path) -> None:
    folder = lasting_folder()
    with temporary_folder():
        assert folder.exists()
    remove_lasting()
    assert not list(place.iterdir())

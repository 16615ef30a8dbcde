"""Temporary folders that do not outlive their process for long, even if that is killed.

Each is locked by the process that has made it, and the kernel frees the locks of a process that
dies. So whoever makes one first removes those of the same user that nobody holds any more. Needs
the standard library only.
"""

import atexit
import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# No program of ours may make anything of this name that is not locked.
PREFIX = "mtln-locked-"

# By the folder, the handle that holds its lock.
_lasting: dict[Path, int] = {}


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """Make a folder that only this user can enter; it is removed in the end.

    Raises:
        OSError: It cannot be made.
    """
    folder, handle = _make()
    try:
        yield folder
    finally:
        _remove(folder, handle)


def lasting_folder() -> Path:
    """Make such a folder that is there until this process ends (:func:`remove_lasting`).

    Raises:
        OSError: It cannot be made.
    """
    folder, handle = _make()
    _lasting[folder] = handle
    return folder


@atexit.register
def remove_lasting() -> None:
    """Remove what :func:`lasting_folder` has made; for processes that end without Python's end."""
    while _lasting:
        _remove(*_lasting.popitem())


def _make() -> tuple[Path, int]:
    _remove_abandoned(Path(tempfile.gettempdir()))
    while True:
        folder = Path(tempfile.mkdtemp(prefix=PREFIX))
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        # Where there are no locks (some network file systems), nobody can take it for abandoned.
        with contextlib.suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if folder.exists():
            return folder, handle
        os.close(handle)  # somebody has cleaned up between the two lines


def _remove(folder: Path, handle: int) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    os.close(handle)


def _remove_abandoned(place: Path) -> None:
    """Remove the folders of this user that no living process holds."""
    for folder in place.glob(f"{PREFIX}*"):
        try:
            handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:  # another user's, or none
            continue
        try:
            if os.fstat(handle).st_uid == os.getuid():
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
        except OSError:  # held, or on a file system without locks
            pass
        finally:
            os.close(handle)

"""Locks between the processes of a node. The kernel frees those of a process that dies."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_LOOK_EVERY = 0.2


class Lock:
    """A lock that one process holds alone, or several share.

    Args:
        path: an empty file, made if need be and never removed: who still waits for a file that is
            gone would share nothing with who makes it anew.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)

    def take(self, shared: bool = False) -> bool:
        """Takes it, or changes the kind in which it is held; False if others hold it."""
        kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        try:
            fcntl.flock(self._file, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def used(self) -> float:
        """When it was last touched, in seconds since 1970."""
        return os.fstat(self._file).st_mtime

    def touch(self) -> None:
        """Notes that it is used now."""
        os.utime(self._file)

    def free(self) -> None:
        """Gives it up."""
        os.close(self._file)


@contextmanager
def waiting(lock: Lock, wait: Callable[[float], None]) -> Iterator[None]:
    """Holds a lock alone, once it can be had.

    Args:
        lock: the lock, which is given up in the end.
        wait: called with the seconds to wait before the next look; may raise.
    """
    try:
        while not lock.take():
            wait(_LOOK_EVERY)
        yield
    finally:
        lock.free()

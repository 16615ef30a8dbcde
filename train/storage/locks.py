"""Locks between the processes of a node. The kernel frees those of a process that dies."""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_POLL_SECONDS = 0.2


class Lock:
    """A lock that one process holds alone, or several share.

    Args:
        path: An empty file, made if need be and never removed: a process that still waits for a
            removed file would share nothing with one that makes it anew.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)

    def take(self, shared: bool = False) -> bool:
        """Take the lock, or change the kind in which it is held; False if others hold it."""
        kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        try:
            fcntl.flock(self._file, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def touch(self) -> None:
        """Record the present as the time of the last use."""
        os.utime(self._file)

    def free(self) -> None:
        """Give the lock up."""
        os.close(self._file)


@contextmanager
def waiting(lock: Lock, wait: Callable[[float], None]) -> Iterator[None]:
    """Hold a lock alone, once it can be had.

    Args:
        lock: The lock, which is given up in the end.
        wait: Called with the seconds to wait before the next try; may raise.
    """
    try:
        while not lock.take():
            wait(_POLL_SECONDS)
        yield
    finally:
        lock.free()

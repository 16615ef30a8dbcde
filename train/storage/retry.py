"""Doing again what a store failed to do, and saying in one line why it was no use."""

from __future__ import annotations

import errno
import random
import threading
from collections.abc import Callable
from typing import TypeVar

from train.errors import UserError

_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 30.0
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)

T = TypeVar("T")


class StorageError(Exception):
    """A store did not do what it should, although it was asked several times."""


class Damaged(StorageError):
    """A file is not what the file that lists it says, however often it is fetched."""


class Stopped(Exception):
    """A transfer was told to stop."""


class WrongDigest(Exception):
    """What has arrived is not what was expected."""


class Persistence:
    """Tries again, after growing pauses.

    Args:
        tries: how often anything is tried.
    """

    def __init__(self, tries: int) -> None:
        self.tries = tries
        self.stop = threading.Event()

    def do(self, what: str, action: Callable[[], T]) -> T:
        """Does something, again and again if need be.

        Raises:
            UserError: it is no use to try again: something is missing, forbidden or full.
            Damaged: the last try brought the wrong content.
            StorageError: it failed every time.
            Stopped: ``stop`` was set meanwhile.
        """
        pause = _FIRST_PAUSE
        for attempt in range(1, self.tries + 1):
            try:
                return action()
            except (Stopped, UserError):
                raise
            except Exception as error:
                if why := permanent(error):
                    raise UserError(f"{what}: {why}") from None
                if attempt == self.tries:
                    kind = Damaged if isinstance(error, WrongDigest) else StorageError
                    raise kind(f"{what}: {reason(error)} ({attempt} tries)") from error
            # Not all at once again, those whom the same trouble has met.
            if self.stop.wait(pause * random.uniform(0.7, 1.3)):
                raise Stopped
            pause = min(2 * pause, _LONGEST_PAUSE)
        raise AssertionError("unreachable")


def reason(error: BaseException) -> str:
    """One line that says what an error is about."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(text.split())


def permanent(error: Exception) -> str | None:
    """Why it is no use to try again, or None."""
    if isinstance(error, OSError) and error.errno in _DISK_FULL:
        return "the disk is full"
    local = getattr(error, "filename", None)
    if local is not None:
        return f"{local}: {reason(error)}"
    if isinstance(error, FileNotFoundError):
        return f"does not exist ({reason(error)})"
    if isinstance(error, PermissionError):
        return f"access denied ({reason(error)})"
    # botocore's, told by name since it need not be imported: no keys, half a key, a bad value.
    if type(error).__name__ in {
        "NoCredentialsError",
        "PartialCredentialsError",
        "ParamValidationError",
        "ProfileNotFound",
    }:
        return reason(error)
    return None

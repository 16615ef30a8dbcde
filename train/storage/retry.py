"""Trying again what a store failed to do, and saying in one line why that was no use."""

import errno
import random
import threading
from collections.abc import Callable
from typing import TypeVar

from train.errors import UserError

_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 30.0
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
# Of botocore, known by name so that it need not be imported: no keys, half a key, a bad value.
_NO_USE = {
    "NoCredentialsError",
    "PartialCredentialsError",
    "ParamValidationError",
    "ProfileNotFound",
}

T = TypeVar("T")


class StorageError(Exception):
    """A store did not do what it should, although it was asked several times."""


class Damaged(StorageError):
    """A file is not what the file that lists it says, however often it is fetched."""


class Stopped(Exception):
    """A transfer was told to stop."""


class WrongDigest(Exception):
    """What has arrived is not what was expected."""


class Retry:
    """Repetition of what fails, with exponential backoff.

    Args:
        tries: How often anything is tried at most.

    Attributes:
        stop: Set from another thread to end it all.
    """

    def __init__(self, tries: int) -> None:
        self.tries = tries
        self.stop = threading.Event()

    def call(self, what: str, action: Callable[[], T]) -> T:
        """Return the result of an action, tried again and again if need be.

        Args:
            what: What messages call it.
            action: What to do.

        Raises:
            UserError: It is no use to try again: something is missing, forbidden or full.
            Damaged: The last try brought the wrong content.
            StorageError: It failed every time.
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
            # Jitter: those whom the same trouble has met should not all come back at once.
            if self.stop.wait(pause * random.uniform(0.7, 1.3)):
                raise Stopped
            pause = min(2 * pause, _LONGEST_PAUSE)
        raise AssertionError("unreachable")


def reason(error: BaseException) -> str:
    """Return one line that says what an error is about."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(text.split())


def permanent(error: Exception) -> str | None:
    """Return why it is no use to try again, or None if it may be."""
    if isinstance(error, OSError) and error.errno in _DISK_FULL:
        return "the disk is full"
    local = getattr(error, "filename", None)
    if local is not None:
        return f"{local}: {reason(error)}"
    if isinstance(error, FileNotFoundError):
        return f"does not exist ({reason(error)})"
    if isinstance(error, PermissionError):
        return f"access denied ({reason(error)})"
    return reason(error) if type(error).__name__ in _NO_USE else None

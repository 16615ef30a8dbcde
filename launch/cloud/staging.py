"""One copy of the data per node, although a process per card may want it."""

import fcntl
import hashlib
import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from train.errors import UserError

_LOOK_EVERY = 0.2


class StagingFailed(Exception):
    """The data could not be copied. ``code`` is the exit code that tells so."""

    def __init__(self, message: str, code: int = 1) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Outcome:
    """How a copy ended.

    Attributes:
        url: what was copied.
        finished: time in seconds since 1970.
        code: exit code, 0 if all is there.
        message: why not.
    """

    url: str
    finished: float
    code: int
    message: str


Copy = Callable[[Path], tuple[int, str]]
"""Copies into a folder; exit code, and one line on what went wrong."""


def local_copy(url: str, local_dir: Path) -> Path:
    """The folder of this node for what is at an address."""
    return local_dir / "data" / hashlib.sha256(url.encode()).hexdigest()[:16]


def stage(url: str, local_dir: Path, seconds: float, copy: Copy) -> Path:
    """Returns a folder of this node with all that is at ``url``.

    Of several processes that ask at the same time one copies and the others wait for it: they
    take what it made, or fail as it failed. A copy that was finished before this call does not
    count, since the source may have changed; to make sure costs one listing.

    Args:
        url: what to copy.
        local_dir: the same for all processes of a node.
        seconds: how long to wait for another process.
        copy: does it; what is there already it need not copy again.

    Raises:
        StagingFailed: this process or the one waited for could not copy.
        UserError: the local folder cannot be written.
    """
    asked = time.time()
    folder = local_copy(url, local_dir)
    note = folder.with_suffix(".json")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with folder.with_suffix(".lock").open("a") as lock:
            # The kernel frees the lock of a process that dies: the next one then takes over.
            _acquire(lock, url, asked + seconds)
            outcome = _read(note)
            if outcome is None or outcome.url != url or outcome.finished < asked:
                outcome = Outcome(url, 0.0, *copy(folder))
                _write(note, Outcome(url, time.time(), outcome.code, outcome.message))
    except OSError as error:
        raise UserError(
            f"{error.filename or local_dir}: {error.strerror} (choose a folder with --local_dir)"
        ) from None
    if outcome.code:
        raise StagingFailed(outcome.message, outcome.code)
    return folder


def _acquire(lock: IO[str], url: str, deadline: float) -> None:
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.time() > deadline:
                raise StagingFailed(
                    f"{url}: another process of this node is still copying it "
                    "(--stage_timeout is how long to wait)"
                ) from None
            time.sleep(_LOOK_EVERY)


def _read(note: Path) -> Outcome | None:
    try:
        return Outcome(**json.loads(note.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def _write(note: Path, outcome: Outcome) -> None:
    temporary = note.with_name(f".{note.name}.{os.getpid()}")
    temporary.write_text(json.dumps(asdict(outcome)), encoding="utf-8")
    temporary.replace(note)

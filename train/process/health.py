"""Heartbeat for the hang watch, and the report of a failure: log, file and exit code."""

import contextlib
import faulthandler
import json
import os
import sys
import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from train.environment import ERROR, HEARTBEAT
from train.errors import FAILURE, USER_ERROR, UserError, error_text
from train.files import replace_file
from train.process.signals import STACKS
from train.program.ending import refusal
from train.storage.retry import StorageError
from train.temporary import remove_lasting

# What a rank is doing. All ranks go through the same phases in the same order.
Phase = Literal[
    "start",
    "download",
    "join",
    "prepare",
    "data",
    "compile",
    "step",
    "consolidation",
    "evaluation",
    "checkpoint",
    "upload",
]


class Heartbeat:
    """Step and phase of this rank, kept in the file named by ``MTLN_HEARTBEAT``.

    The file has one line: steps done, phase, and how many phases the rank has been in, by which
    those who wait are told from the one that they wait for. Every beat changes the file's time.
    Without the variable, in a job that nobody watches, nothing is written.

    Args:
        environment: Where the variable is looked up.

    Attributes:
        step: How far this rank has got.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.step = 0
        self._phase: Phase = "start"
        self._phases = 0
        path = environment.get(HEARTBEAT)
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644) if path else None

    def enter(self, phase: Phase, step: int | None = None) -> None:
        """Begin another phase, after so many steps (as many as before if not given)."""
        self._phase = phase
        self._phases += 1
        if step is not None:
            self.step = step
        self.beat()

    def beat(self) -> None:
        """Give a sign of life within a phase."""
        if self._file is not None:
            # Of one length, so that nothing of a longer line stays behind it.
            line = f"{self.step:12d} {self._phase:<13} {self._phases:12d}\n"
            try:
                os.pwrite(self._file, line.encode(), 0)
            except OSError:  # the disk is full: the time is the sign
                os.utime(self._file)


def explain_crashes() -> None:
    """Have the Python stacks of all threads printed on a crash, and on QUIT."""
    faulthandler.enable()
    faulthandler.register(STACKS, all_threads=True)


def report(error: Exception) -> int:
    """Tell about an error on standard error and to the launcher; return the exit code."""
    told = refusal(error) if isinstance(error, OSError) else None
    if isinstance(error, (UserError, StorageError)) or told:
        text = error_text(told or error)
    else:
        text = "".join(traceback.format_exception(error))
    print(text.rstrip(), file=sys.stderr, flush=True)
    code = USER_ERROR if isinstance(error, UserError) else FAILURE
    # When it happened, which says more than when this process has ended: whose failure was first
    # decides whose is told. And its code, for whoever does not come to its own end in time.
    if path := os.environ.get(ERROR):
        message = traceback.format_exception_only(error)[-1].strip()
        record = {"time": time.time(), "message": message, "code": code}
        with contextlib.suppress(OSError):  # told above
            replace_file(Path(path), json.dumps(record).encode())
    return code


def leave(code: int) -> None:
    """End this process at once.

    MindSpore's own end of a rank waits for ranks that wait for this one, and may crash.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    remove_lasting()
    os._exit(code)

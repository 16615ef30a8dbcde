"""What the ranks of this node let the launcher know: how far they are, and why they failed."""

import json
from pathlib import Path
from typing import NamedTuple

from launch.plan.processes import Process
from train.environment import ERROR, HEARTBEAT


class Progress(NamedTuple):
    """How far a rank is (:class:`train.process.health.Heartbeat`).

    Attributes:
        step: Steps done.
        phase: What it does.
        phases: How many phases it has been in.
    """

    step: int
    phase: str
    phases: int


class NotedFailure(NamedTuple):
    """What a rank has noted of its failure (:func:`train.process.health.report`).

    Attributes:
        time: When it was, in seconds since 1970.
        message: The last line of its traceback, or the mistake of the user.
        code: The exit code with which it meant to end.
    """

    time: float
    message: str
    code: int


class RankReports:
    """The files in which every rank keeps its step and phase and notes its failure.

    Args:
        folder: Where they are; empty at first.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def variables(self, process: Process) -> dict[str, str]:
        """Return what tells a process where to report."""
        if process.rank is None:
            return {}
        return {name: str(self._path(process, name)) for name in (HEARTBEAT, ERROR)}

    def heartbeat(self, process: Process) -> int:
        """Return when a rank last gave a sign of life, as a number to compare."""
        try:
            return self._path(process, HEARTBEAT).stat().st_mtime_ns
        except OSError:
            return 0

    def progress(self, process: Process) -> Progress:
        """Return how far a rank is."""
        try:
            step, phase, phases = self._path(process, HEARTBEAT).read_text().split()
            return Progress(int(step), phase, int(phases))
        except (OSError, ValueError):
            return Progress(0, "start", 0)

    def step(self, process: Process) -> int | None:
        """Return the step that a rank has come to, None before its first."""
        return self.progress(process).step or None

    def failure(self, process: Process) -> NotedFailure | None:
        """Return what a rank has noted of its failure; None if it has not."""
        try:
            values = json.loads(self._path(process, ERROR).read_text(encoding="utf-8"))
            return NotedFailure(float(values["time"]), str(values["message"]), int(values["code"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _path(self, process: Process, kind: str) -> Path:
        return self._folder / f"{process.name.replace(' ', '_')}.{kind}"

"""The sign of life that the launcher's hang watch looks for."""

import os
from collections.abc import Mapping

from train.environment import HEARTBEAT


class Heartbeat:
    """The number of the current step, kept in the file named by ``MTLN_HEARTBEAT``.

    Every beat changes the file's time, so work that is no step (evaluation, saving) beats too.
    Without the variable, in a job that nobody watches, nothing is written.

    Args:
        environment: Where the variable is looked up.

    Attributes:
        step: How far this rank has got.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.step = 0
        path = environment.get(HEARTBEAT)
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644) if path else None

    def beat(self, step: int | None = None) -> None:
        """Give a sign of life, after a step or in the midst of other work."""
        if step is not None:
            self.step = step
        if self._file is not None:
            os.pwrite(self._file, b"%12d\n" % self.step, 0)

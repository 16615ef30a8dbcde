"""Being asked to stop: the run goes on to the next consolidation point, where it can be saved."""

import os
import signal
import time
from types import FrameType
from typing import Any

from train.process.signals import STOP
from train.temporary import remove_lasting

# Seconds within which several INTs are one request.
_ONE_REQUEST = 1.0


class StopRequest:
    """A request to stop: TERM, INT, HUP or USR2, which do not end the process in its context.

    A second INT does, unless it comes at once: job managers may signal every process of a job, and
    then the launcher passes on its own. A signal that is ignored (nohup) stays ignored.

    Attributes:
        number: The signal, 0 as long as there was none.
    """

    def __init__(self) -> None:
        self.number = 0
        self._interrupted: float | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "StopRequest":
        for number in STOP:
            if signal.getsignal(number) != signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()

    def obey(self) -> None:
        """End this process the way the signal would have."""
        remove_lasting()
        number = self.number or signal.SIGTERM  # another rank was asked, and told this one
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    def _note(self, number: int, _: FrameType | None) -> None:
        self.number = number
        if number != signal.SIGINT:
            return
        now = time.monotonic()
        if self._interrupted is not None and now - self._interrupted > _ONE_REQUEST:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        self._interrupted = self._interrupted or now

"""Being asked to save: done at the next consolidation point, and the run goes on."""

import signal
from types import FrameType

from train.process.signals import REQUESTS, SAVE


class SaveRequests:
    """The requests that have come to this rank, from the moment on when it listens.

    What came before has been held back (:mod:`train.process.signals`), and comes then.
    """

    def __init__(self) -> None:
        self._came = 0
        self._answered = 0

    def listen(self) -> None:
        """Take note of requests from now on."""
        signal.signal(SAVE, self._note)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, REQUESTS)

    def take(self) -> bool:
        """Return whether there was a request since this was asked last."""
        came, before = self._came, self._answered
        self._answered = came
        return came > before

    def _note(self, _: int, __: FrameType | None) -> None:
        self._came += 1


save_requests = SaveRequests()

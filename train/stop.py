"""Being asked to stop: the run goes on to the next consolidation point, where it can be saved."""

import os
import signal
from types import FrameType

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class StopRequest:
    """Takes note of TERM, INT and HUP instead of dying of them; asked again, a rank dies.

    Attributes:
        number: The signal, 0 as long as there was none.
    """

    def __init__(self) -> None:
        self.number = 0

    def listen(self) -> None:
        """From now on signals are noted. One that is ignored (nohup) stays ignored."""
        for number in _SIGNALS:
            if signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, self._note)

    def obey(self) -> None:
        """Ends this process the way the signal would have."""
        number = self.number or signal.SIGTERM  # another rank was asked, and told this one
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    def _note(self, number: int, _: FrameType | None) -> None:
        self.number = number
        signal.signal(number, signal.SIG_DFL)

"""Lines that tell how far a transfer has got."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

_LINE_EVERY = 15.0


class Progress:
    """Says a line now and then.

    Args:
        say: told the lines.
        alive: called with every piece that moves.
    """

    def __init__(
        self, say: Callable[[str], None], alive: Callable[[], None] = lambda: None
    ) -> None:
        self._say, self._alive = say, alive
        self._lock = threading.Lock()
        self.begin(0)

    def begin(self, total: int) -> None:
        """A transfer of so many bytes begins."""
        self._total = total
        self._moved = 0
        self._next = time.monotonic() + _LINE_EVERY

    def move(self, count: int) -> None:
        """Takes note of more bytes; may be called from any thread."""
        with self._lock:
            self._alive()
            self._moved += count
            if time.monotonic() < self._next:
                return
            self._next += _LINE_EVERY
            self._say(f"{self._moved / 1e6:,.0f} of {self._total / 1e6:,.0f} MB")

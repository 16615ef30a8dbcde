"""Shows how far a download is."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_LINE_EVERY = 15.0


@contextmanager
def transfer(title: str) -> Iterator[Callable[[int, int | None], None]]:
    """Shows bytes as they come, on standard error: a bar on a terminal, else a line now and then.

    Yields:
        A function that takes the bytes that are there and their number in the end (None: not
        known).
    """
    if not sys.stderr.isatty():
        yield _Lines(title)
        return
    from rich import progress as rich
    from rich.console import Console

    columns = (
        rich.TextColumn("{task.description}"),
        rich.BarColumn(),
        rich.DownloadColumn(),
        rich.TransferSpeedColumn(),
        rich.TimeRemainingColumn(),
    )
    with rich.Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


class _Lines:
    """Prints a line when a transfer begins and every few seconds."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._next = 0.0

    def __call__(self, done: int, total: int | None) -> None:
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + _LINE_EVERY
        end = f"{total / 1e6:.1f}" if total is not None else "?"
        print(f"{self._title}: {done / 1e6:.1f} of {end} MB", file=sys.stderr, flush=True)

"""Where the time of a run goes: training, waiting for data, and everything else."""

import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")

_RECENT_LINES = 5


@dataclass
class Throughput:
    """Seconds and images of the training steps, without compilation and evaluation.

    Attributes:
        seconds: Spent in steps, waiting for their data included.
        waiting: Part of it spent waiting for data.
        images: Trained in this time, over all ranks.
    """

    seconds: float = 0.0
    waiting: float = 0.0
    images: int = 0

    @property
    def images_per_second(self) -> float:
        """Mean over the run; 0 before the first measured step."""
        return self.images / self.seconds if self.seconds else 0.0

    @property
    def waiting_share(self) -> float:
        """Part of the time that was spent waiting for data, in 0..1."""
        return self.waiting / self.seconds if self.seconds else 0.0


class StepClock:
    """Measures steps between two moments at which all computations are known to be finished.

    Args:
        total: Sums over the run, kept across a stop and resume.
    """

    def __init__(self, total: Throughput) -> None:
        self.total = total
        self._recent: deque[tuple[int, float]] = deque(maxlen=_RECENT_LINES)
        self._waiting = 0.0
        self._images = 0
        self._pixels = 0
        self._since = time.perf_counter()

    def restart(self) -> None:
        """Forgets what was not yet counted: after a compilation or an evaluation."""
        self._waiting, self._images, self._pixels = 0.0, 0, 0
        self._since = time.perf_counter()

    def waited(self, batches: Iterable[T]) -> Iterator[T]:
        """Passes batches on and measures how long they were waited for."""
        iterator = iter(batches)
        while True:
            start = time.perf_counter()
            batch = next(iterator, None)
            self._waiting += time.perf_counter() - start
            if batch is None:
                return
            yield batch

    def count(self, images: int, size: int) -> None:
        """A step with so many images of ``size`` x ``size`` pixels was started."""
        self._images += images
        self._pixels += images * size * size

    def lap(self) -> Throughput:
        """Everything since the last lap, all of it finished; adds it to the total."""
        now = time.perf_counter()
        lap = Throughput(now - self._since, self._waiting, self._images)
        self.total.seconds += lap.seconds
        self.total.waiting += lap.waiting
        self.total.images += lap.images
        if lap.images:
            self._recent.append((self._pixels, lap.seconds))
        self.restart()
        return lap

    def seconds_for(self, pixels: float) -> float:
        """Estimate for so many pixels, from the recent laps: cost grows with the area."""
        done = sum(p for p, _ in self._recent)
        return pixels * sum(s for _, s in self._recent) / done if done else 0.0

"""Where the time of a run goes: training, waiting for data, and everything else."""

import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

T = TypeVar("T")


@dataclass
class Throughput:
    """Seconds and images of the training steps, without compilation and evaluation.

    Attributes:
        seconds: Spent in steps, waiting for their data included.
        waiting: Part of it spent waiting for data.
        images: Trained in this time, over all ranks.
        saving: Seconds beside them that checkpoints have held the training up.
    """

    seconds: float = 0.0
    waiting: float = 0.0
    images: int = 0
    saving: float = 0.0

    def add(self, lap: "Throughput") -> None:
        """Add what a lap has taken; the time of checkpoints was added when it was measured."""
        self.seconds += lap.seconds
        self.waiting += lap.waiting
        self.images += lap.images

    def to_counts(self) -> npt.NDArray[np.int64]:
        """Return microseconds of steps, of waiting in them, and images: (3,)."""
        return np.array([self.seconds * 1e6, self.waiting * 1e6, self.images], np.int64)

    @property
    def images_per_second(self) -> float:
        """Mean over the time; 0 before the first measured step."""
        return self.images / self.seconds if self.seconds else 0.0

    @property
    def waiting_share(self) -> float:
        """Part of the time that was spent waiting for data, in 0..1."""
        return self.waiting / self.seconds if self.seconds else 0.0

    @property
    def saving_share(self) -> float:
        """Part of the time of steps and checkpoints that was lost to checkpoints, in 0..1."""
        return self.saving / (self.seconds + self.saving) if self.saving else 0.0


class RunClock:
    """The time of steps, in laps between moments at which all computations are finished.

    Attributes:
        total: All laps of the run, also those before it was stopped and resumed.
    """

    def __init__(self) -> None:
        self.total = Throughput()
        self._interval = Throughput()
        self._recent: deque[tuple[int, float]] = deque(maxlen=5)
        self._saving = 0.0
        self._wall_before = 0.0
        self._started = time.perf_counter()
        self.restart()

    @property
    def wall_seconds(self) -> float:
        """Seconds of the whole run, with everything in it."""
        return self._wall_before + time.perf_counter() - self._started

    def to_state(self) -> dict[str, Any]:
        """Return what a checkpoint keeps of it, as plain values."""
        return {"throughput": asdict(self.total), "wall_seconds": self.wall_seconds}

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from what :meth:`to_state` gave, among other values."""
        self.total = Throughput(**state["throughput"])
        self._wall_before = state["wall_seconds"]

    def restart(self) -> None:
        """Forget what was not yet counted: after a compilation or an evaluation."""
        self._waiting, self._images, self._pixels = 0.0, 0, 0
        self._since = time.perf_counter()

    def waited(self, batches: Iterable[T]) -> Iterator[T]:
        """Pass batches on and measure how long they were waited for."""
        iterator = iter(batches)
        while True:
            start = time.perf_counter()
            batch = next(iterator, None)
            self._waiting += time.perf_counter() - start
            if batch is None:
                return
            yield batch

    def count(self, images: int, size: int) -> None:
        """Count a step, which was started, with ``images`` images of ``size`` x ``size`` pixels."""
        self._images += images
        self._pixels += images * size * size

    @contextmanager
    def saving(self) -> Iterator[None]:
        """Count the time of the block, between two intervals, as lost to a checkpoint."""
        start = time.perf_counter()
        try:
            yield
        finally:
            seconds = time.perf_counter() - start
            self._saving += seconds
            self.total.saving += seconds

    def lap(self) -> Throughput:
        """End a lap, all of it finished: add it to the total, and return it."""
        now = time.perf_counter()
        lap = Throughput(now - self._since, self._waiting, self._images, self._saving)
        self._saving = 0.0
        self.total.add(lap)
        self._interval.add(lap)
        if lap.images:
            self._recent.append((self._pixels, lap.seconds))
        self.restart()
        return lap

    def take_interval(self) -> Throughput:
        """Return the laps since it was called last, of this rank alone."""
        interval, self._interval = self._interval, Throughput()
        return interval

    def seconds_for(self, pixels: int) -> float:
        """Estimate the seconds for ``pixels`` pixels from the recent laps: cost grows with area."""
        done = sum(p for p, _ in self._recent)
        return pixels * sum(s for _, s in self._recent) / done if done else 0.0

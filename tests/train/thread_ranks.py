"""Ranks that are threads of this process: where what they tell each other is what is tested."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np

from train.distributed.collectives import Collectives, Counts, Floats

Result = TypeVar("Result")


class Threads(Collectives):
    """Every rank gives a vector; each gets what is made of all."""

    def __init__(self, world_size: int) -> None:
        self.world_size = world_size
        self._all_here = threading.Barrier(world_size)
        self._given: list[Any] = []

    def sum_counts(self, counts: Counts) -> Counts:
        total: Counts = np.sum(self._exchange(counts), axis=0)
        return total

    def mean(self, vector: Floats) -> Floats:
        mean: Floats = np.mean(self._exchange(vector), axis=0)
        return mean

    def _exchange(self, vector: Any) -> list[Any]:
        self._given.append(vector.copy())
        self._all_here.wait(20)
        given = self._given[-self.world_size :]
        self._all_here.wait(20)
        return given


def on_ranks(world_size: int, work: Callable[[int, Threads], Result]) -> list[Result]:
    """Return what every rank returns that does this work at the same time."""
    ranks = Threads(world_size)
    with ThreadPoolExecutor(world_size) as pool:
        return list(pool.map(lambda rank: work(rank, ranks), range(world_size)))

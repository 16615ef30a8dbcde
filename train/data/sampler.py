"""The task-balanced plan: which records every rank sees in which step.

A pure function of (seed, step). For a data set with n records and b images in the mixed batch,
step s takes positions [s * b, (s + 1) * b) of an endless stream of seeded permutations of 0..n-1,
and rank r takes every world-th of them. Hence every record comes once per pass, the mixed batch of
a step is the same for any number of ranks, and the state to resume is the number s. The
permutations are computed position by position, so nothing grows with n.
"""

import heapq
import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

_ROUNDS = 8
_MIN_HALF_BITS = 2

Shares = str | Mapping[str, float]


def split_shares(shares: Shares, num_records: Mapping[str, int], images: int) -> dict[str, int]:
    """Divides the mixed batch among the data sets.

    Args:
        shares: ``"equal"``, ``"proportional"`` (to the number of records),
            ``{"temperature": T}`` (proportional to n ** (1 / T)), or images per data set.
        num_records: Training records n of every data set.
        images: Images of the mixed batch, over all ranks, at least one per data set; ignored where
            ``shares`` gives numbers.

    Returns:
        Images of every data set in the mixed batch.
    """
    if isinstance(shares, Mapping) and "temperature" not in shares:
        return {name: int(shares[name]) for name in num_records}
    exponent = _size_exponent(shares)
    return _apportion(images, {name: float(n) ** exponent for name, n in num_records.items()})


def _size_exponent(shares: Shares) -> float:
    if isinstance(shares, Mapping):
        return 1.0 / shares["temperature"]
    return {"equal": 0.0, "proportional": 1.0}[shares]


def _apportion(images: int, weights: Mapping[str, float]) -> dict[str, int]:
    """At least one image each; the rest goes, one by one, to whoever lags most (Webster).

    Where many lag alike, the first of them comes first. Most images are dealt at once, so that
    8,192 images for each of 1,000 data sets do not take tens of minutes.
    """
    given = _dealt_at_once(images, weights)
    lagging = [(-weights[name] / (2 * given[name] + 1), i) for i, name in enumerate(weights)]
    heapq.heapify(lagging)
    names = list(weights)
    for _ in range(images - sum(given.values())):
        name = names[lagging[0][1]]
        given[name] += 1
        lag = -weights[name] / (2 * given[name] + 1)
        heapq.heapreplace(lagging, (lag, lagging[0][1]))
    return given


def _dealt_at_once(images: int, weights: Mapping[str, float]) -> dict[str, int]:
    """For each data set, at most as many images as it will have in the end, and hardly less.

    All images before which the lag, weight / (2 given + 1), is above a bound that is the same for
    all; one less, in case of rounding. The bound grows until they are not too many.
    """
    bound = sum(weights.values()) / (2 * images)
    while True:
        given = {name: max(1, math.ceil((w / bound - 1) / 2)) for name, w in weights.items()}
        if sum(given.values()) <= max(images, len(weights)):
            return {name: max(1, count - 1) for name, count in given.items()}
        bound *= 1.01


@dataclass(frozen=True)
class TrainStream:
    """The endless stream of one data set's training records.

    Attributes:
        name: Name of the data set; data sets of one size get different permutations.
        num_records: Records n of the train split.
        images_per_step: Images b of this data set in the mixed batch, over all ranks.
        seed: Seed of the run.
    """

    name: str
    num_records: int
    images_per_step: int
    seed: int

    def records(
        self, first_step: int, last_step: int, rank: int = 0, world_size: int = 1
    ) -> npt.NDArray[np.int64]:
        """Record numbers of the steps [first_step, last_step), in order.

        Returns:
            int64 array (last_step - first_step, ``num_images(rank, world_size)``).
        """
        steps = np.arange(first_step, last_step, dtype=np.int64)[:, None]
        lanes = np.arange(rank, self.images_per_step, world_size, dtype=np.int64)[None, :]
        positions = steps * self.images_per_step + lanes
        return self._record_at(positions)

    def num_images(self, rank: int, world_size: int) -> int:
        """Images of a rank in a step; they differ by at most one between the ranks."""
        return len(range(rank, self.images_per_step, world_size))

    def _record_at(self, positions: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        passes = (positions // self.num_records).astype(np.uint64)
        keys = _mix(
            passes + _mix(np.uint64(self.seed) ^ _mix(np.uint64(zlib.crc32(self.name.encode()))))
        )
        return permute(positions % self.num_records, self.num_records, keys)


def permute(
    values: npt.NDArray[np.int64], size: int, keys: npt.NDArray[np.uint64]
) -> npt.NDArray[np.int64]:
    """Applies the permutation of 0..size-1 that belongs to a key, element by element.

    A Feistel network permutes the smallest range 0..4^k-1 that holds ``size``; values that fall
    outside 0..size-1 are sent through again until they are inside ("cycle walking").

    Args:
        values: Numbers in 0..size-1.
        size: Size of the permuted range.
        keys: One key for every value (same shape); equal keys mean the same permutation.
    """
    half_bits = max(_MIN_HALF_BITS, -(-(size - 1).bit_length() // 2))
    result = _feistel(values.astype(np.uint64), keys, half_bits)
    outside = result >= size
    while outside.any():
        result[outside] = _feistel(result[outside], keys[outside], half_bits)
        outside = result >= size
    return result.astype(np.int64)


def _feistel(
    values: npt.NDArray[np.uint64], keys: npt.NDArray[np.uint64], half_bits: int
) -> npt.NDArray[np.uint64]:
    shift, mask = np.uint64(half_bits), np.uint64((1 << half_bits) - 1)
    left, right = values >> shift, values & mask
    for round_number in range(_ROUNDS):
        left, right = right, left ^ (_mix(right + _mix(keys + np.uint64(round_number))) & mask)
    return (left << shift) | right


def _mix(x: npt.NDArray[np.uint64] | np.uint64) -> npt.NDArray[np.uint64]:
    """The finaliser of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014): scrambles 64 bits."""
    with np.errstate(over="ignore"):  # wrapping around 2^64 is meant
        x = np.asarray(x, dtype=np.uint64) + np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return x ^ (x >> np.uint64(31))


def evaluation_records(
    num_records: int, rank: int = 0, world_size: int = 1
) -> npt.NDArray[np.int64]:
    """This rank's share of an evaluation: over all ranks every record comes exactly once."""
    return np.arange(rank, num_records, world_size, dtype=np.int64)

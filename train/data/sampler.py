"""The task-balanced plan: which records every rank sees in which step.

A pure function of (seed, step). For a data set with n records and b images in the mixed batch,
step s takes positions [s * b, (s + 1) * b) of an endless stream of seeded permutations of 0..n-1,
and rank r takes every world-th of them. Hence every record comes once per pass, the mixed batch of
a step is the same for any number of ranks, and the state to resume is the number s. The
permutations are computed position by position, so nothing grows with n.
"""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from train.errors import UserError

_ROUNDS = 8
_MIN_HALF_BITS = 2

Shares = str | Mapping[str, float]


def split_shares(shares: Shares, num_records: Mapping[str, int], images: int) -> dict[str, int]:
    """Divide the mixed batch among the data sets.

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
    rules = {"equal": 0.0, "proportional": 1.0}
    exponent = rules[shares] if isinstance(shares, str) else 1 / shares["temperature"]
    weights = np.array([float(n) ** exponent for n in num_records.values()])
    return dict(zip(num_records, _apportion(images, weights), strict=True))


def require_images(shares: Mapping[str, int], ranks: int) -> None:
    """Check that every rank gets an image of every data set in every step.

    Args:
        shares: Images of every data set in the mixed batch.
        ranks: Number of ranks.

    Raises:
        UserError: There are more ranks than images.
    """
    for name, images in shares.items():
        if images < ranks:
            raise UserError(
                f"batch: the mixed batch holds {images} image(s) of {name}, too few for "
                f"{ranks} ranks (see batch.images_per_task and batch.shares)"
            )


def _apportion(images: int, weights: npt.NDArray[np.float64]) -> list[int]:
    """Give everyone an image, and the rest, one by one, to whoever lags most (Webster).

    The lag is weight / (2 given + 1); of several that lag alike, the first comes first. Most images
    are dealt at once, so that 8,192 images for each of 1,000 data sets do not take tens of minutes:
    all before which the lag is above a bound, which grows until they are not too many; one less
    each, in case of rounding.
    """
    bound, most = weights.sum() / (2 * images), max(images, len(weights))
    while (given := np.maximum(1, np.ceil((weights / bound - 1) / 2))).sum() > most:
        bound *= 1.01
    given = np.maximum(1, given - 1)
    for _ in range(images - int(given.sum())):
        given[np.argmax(weights / (2 * given + 1))] += 1
    return [int(count) for count in given]


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
        """Return the record numbers of the steps [first_step, last_step), in order.

        Returns:
            int64 array (last_step - first_step, ``num_images(rank, world_size)``).
        """
        steps = np.arange(first_step, last_step, dtype=np.int64)[:, None]
        lanes = np.arange(rank, self.images_per_step, world_size, dtype=np.int64)[None, :]
        positions = steps * self.images_per_step + lanes
        passes = (positions // self.num_records).astype(np.uint64)
        keys = _mix(
            passes + _mix(np.uint64(self.seed) ^ _mix(np.uint64(zlib.crc32(self.name.encode()))))
        )
        return permute(positions % self.num_records, self.num_records, keys)

    def num_images(self, rank: int, world_size: int) -> int:
        """Return the images of a rank in a step; ranks differ by at most one."""
        return len(range(rank, self.images_per_step, world_size))


def permute(
    values: npt.NDArray[np.int64], size: int, keys: npt.NDArray[np.uint64]
) -> npt.NDArray[np.int64]:
    """Apply the permutation of 0..size-1 that belongs to a key, element by element.

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
    """Scramble 64 bits by the finaliser of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014)."""
    with np.errstate(over="ignore"):  # wrapping around 2^64 is meant
        x = np.asarray(x, dtype=np.uint64) + np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return x ^ (x >> np.uint64(31))


def evaluation_records(
    num_records: int, rank: int = 0, world_size: int = 1
) -> npt.NDArray[np.int64]:
    """Return a rank's share of an evaluation: over all ranks every record comes exactly once."""
    return np.arange(rank, num_records, world_size, dtype=np.int64)

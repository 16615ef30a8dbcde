"""The collective operations of a job: what every engine offers, and the job of one rank."""

from typing import Protocol

import numpy as np
import numpy.typing as npt
from mindspore import nn

from train.config.sections import Precision

Floats = npt.NDArray[np.float32]
Counts = npt.NDArray[np.int64]


class Collectives(Protocol):
    """Operations that all ranks call in the same order.

    What they do here is right for a job of one rank.
    """

    world_size: int

    def all_reduce_cell(self, precision: Precision = "float32") -> nn.Cell | None:
        """Return a cell for the compiled step that sums a float32 vector over the ranks.

        It is None where there is one rank.

        Args:
            precision: Type of the numbers on the wire. They come back as float32 in any case.
        """
        return None

    def mean(self, vector: Floats) -> Floats:
        """Return the mean of a float32 vector over the ranks, bit for bit the same on all."""
        return vector

    def broadcast(self, vector: Floats) -> Floats:
        """Return rank 0's float32 vector; of the others' only the length counts."""
        return vector

    def sum_counts(self, counts: Counts) -> Counts:
        """Return the exact sum over the ranks of non-negative integers below 2^48."""
        return counts

    def barrier(self) -> None:
        """Wait until all ranks are here."""
        return


def of_all_ranks(collectives: Collectives, rank: int, own: Counts) -> Counts:
    """Return, on all ranks, the numbers that each has given: (n,) -> (ranks, n).

    Args:
        collectives: The ranks.
        rank: This one.
        own: What it gives, see :meth:`Collectives.sum_counts`.
    """
    table = np.zeros((collectives.world_size, own.size), np.int64)
    table[rank] = own
    return collectives.sum_counts(table)


class OneProcess(Collectives):
    """A job of one rank: nothing to exchange."""

    world_size = 1

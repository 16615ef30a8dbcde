"""What an engine has to offer, and the job of one rank, which needs none."""

from typing import Protocol

import numpy as np
import numpy.typing as npt
from mindspore import nn

from train.config.precision import Precision

Floats = npt.NDArray[np.float32]
Counts = npt.NDArray[np.int64]


class Collectives(Protocol):
    """What the job needs of the other ranks."""

    world_size: int

    def all_reduce_cell(self, precision: Precision = "float32") -> nn.Cell | None:
        """Cell for the compiled step that sums a float32 vector over the ranks; None for one.

        Args:
            precision: Type of the numbers on the wire. They come back as float32 in any case.
        """

    def mean(self, vector: Floats) -> Floats:
        """Mean of a float32 vector over the ranks, bit for bit the same on all of them."""

    def broadcast(self, vector: Floats) -> Floats:
        """Rank 0's float32 vector; the others' is only looked at for its length."""

    def sum_counts(self, counts: Counts) -> Counts:
        """Exact sum over the ranks of non-negative integers below 2^48."""

    def barrier(self) -> None:
        """Waits until all ranks are here."""


class OneProcess:
    """A job of one rank: nothing to exchange."""

    world_size = 1

    def all_reduce_cell(self, precision: Precision = "float32") -> nn.Cell | None:
        """See :class:`Collectives`."""
        return None

    def mean(self, vector: Floats) -> Floats:
        """See :class:`Collectives`."""
        return vector

    def broadcast(self, vector: Floats) -> Floats:
        """See :class:`Collectives`."""
        return vector

    def sum_counts(self, counts: Counts) -> Counts:
        """See :class:`Collectives`."""
        return counts

    def barrier(self) -> None:
        """See :class:`Collectives`."""

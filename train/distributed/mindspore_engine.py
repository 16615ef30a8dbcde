"""HCCL on Ascend, NCCL on GPU, MCCL on CPU, all behind ``mindspore.communication``.

Shape: n = values of the vector.
"""

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops

from train.config.sections import Precision
from train.distributed import shared_memory
from train.distributed.collectives import Counts, Floats

# The reduction carries float32, exact for integers up to 2^24. Counts travel as digits of 8 bits,
# so the sum of a digit over up to 65,793 ranks is exact.
_DIGIT_BITS = 8
_NUM_DIGITS = 6
_SHIFTS = _DIGIT_BITS * np.arange(_NUM_DIGITS)[:, None]


class MindSporeCollectives:
    """The engine that MindSpore brings for the device.

    On CPU that is a ring of TCP connections. Where all ranks are on one machine, the reduction of
    the step goes through memory that they share instead.
    """

    def __init__(self, rank: int, world_size: int, on_cpu: bool) -> None:
        self.world_size = world_size
        self._sum = AllReduce()
        self._broadcast = Broadcast()
        self._share_memory = on_cpu and shared_memory.join(
            rank, world_size, lambda number: int(self.sum_counts(np.array([number]))[0])
        )

    def all_reduce_cell(self, precision: Precision = "float32") -> nn.Cell | None:
        """See :class:`train.distributed.collectives.Collectives`."""
        if precision != "float32":
            return HalfAllReduce(precision)
        return shared_memory.AllReduce() if self._share_memory else AllReduce()

    def mean(self, vector: Floats) -> Floats:
        """See :class:`train.distributed.collectives.Collectives`."""
        total: Floats = self._sum(Tensor(vector)).asnumpy()
        return total / np.float32(self.world_size)

    def broadcast(self, vector: Floats) -> Floats:
        """See :class:`train.distributed.collectives.Collectives`."""
        result: Floats = self._broadcast(Tensor(vector)).asnumpy()
        return result

    def sum_counts(self, counts: Counts) -> Counts:
        """See :class:`train.distributed.collectives.Collectives`."""
        digits = self._sum(Tensor(to_digits(counts))).asnumpy()
        return from_digits(digits).reshape(counts.shape)

    def barrier(self) -> None:
        """See :class:`train.distributed.collectives.Collectives`."""
        self._sum(Tensor(np.zeros(1, np.float32))).asnumpy()


class AllReduce(nn.Cell):
    """Sum of a vector over all ranks."""

    def __init__(self) -> None:
        super().__init__()
        self.all_reduce = ops.AllReduce(ops.ReduceOp.SUM)

    def construct(self, vector: Tensor) -> Tensor:
        """(n,) -> (n,)."""
        return self.all_reduce(vector)


class HalfAllReduce(AllReduce):
    """Sum of a float32 vector over all ranks, with numbers of 16 bits on the wire.

    Args:
        precision: Their type.
    """

    def __init__(self, precision: Precision) -> None:
        super().__init__()
        self.half = getattr(ms, precision)

    def construct(self, vector: Tensor) -> Tensor:
        """(n,) -> (n,)."""
        return self.all_reduce(vector.astype(self.half)).astype(ms.float32)


class Broadcast(nn.Cell):
    """Rank 0's vector on all ranks."""

    def __init__(self) -> None:
        super().__init__()
        self.broadcast = ops.Broadcast(0)

    def construct(self, vector: Tensor) -> Tensor:
        """(n,) -> (n,)."""
        return self.broadcast((vector,))[0]


def to_digits(counts: Counts) -> Floats:
    """Return the base-256 digits of non-negative integers as a float32 vector."""
    digits = (counts.reshape(1, -1) >> _SHIFTS) & ((1 << _DIGIT_BITS) - 1)
    return digits.astype(np.float32).ravel()


def from_digits(digits: Floats) -> Counts:
    """Return the integers of digits or of sums of digits: the inverse of :func:`to_digits`."""
    rows = digits.astype(np.int64).reshape(_NUM_DIGITS, -1)
    total: Counts = (rows << _SHIFTS).sum(axis=0)
    return total

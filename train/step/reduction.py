"""How the gradient of a step gets to the other ranks: the messages, their types and their order.

Shape: n = values of the gradient that is reduced.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from mindspore import Tensor, nn, ops

from train.config.sections import BYTES
from train.model.layers import split


@dataclass(frozen=True)
class Exchange:
    """What connects the steps of the ranks.

    Attributes:
        world_size: Number of ranks.
        all_reduce: Sums a float32 vector over the ranks; None with one rank.
        all_reduce_in_half: The same with numbers of 16 bits on the wire, for gradients; None where
            they travel as float32 too.
        bucket_bytes: Bytes of gradients in a message; 0 for no limit.
    """

    world_size: int = 1
    all_reduce: nn.Cell | None = None
    all_reduce_in_half: nn.Cell | None = None
    bucket_bytes: int = 0


class Reduction(nn.Cell):
    """Averages the gradients of parameters over the ranks, and a few numbers with them, the tail.

    The gradients are cut into buckets, a message each: the last parameters first, as the backward
    pass is done with them first, so that their message can be under way while it goes on. Every
    message waits for the one before: which one comes next must be the same on all ranks. The tail
    is part of the last message or, where the gradients travel in 16 bits, one more.

    Args:
        exchange: What connects the ranks.
        sizes: Values of every gradient.
        tail: Values of the tail.
        flatten: Makes one vector of many tensors.
    """

    def __init__(
        self, exchange: Exchange, sizes: Sequence[int], tail: int, flatten: nn.Cell
    ) -> None:
        super().__init__()
        self.world_size = exchange.world_size
        self.all_reduce = exchange.all_reduce
        self.all_reduce_in_half = exchange.all_reduce_in_half
        value_bytes = BYTES["float32" if self.all_reduce_in_half is None else "bfloat16"]
        self.buckets = cut_into_buckets(sizes, exchange.bucket_bytes // value_bytes)
        begin, end = self.buckets[-1]
        self.sizes_of_last = (sum(sizes[begin:end]), tail)
        self.message_bytes = value_bytes * sum(sizes) + BYTES["float32"] * tail
        self.flatten = flatten
        self.concat = ops.Concat(0)
        self.depend = ops.Depend()

    def construct(self, gradients: Sequence[Tensor], tail: Tensor) -> tuple[Tensor, Tensor]:
        """Gradients of any shapes and tail, of this rank -> means (n,) and tail, of all ranks."""
        if self.all_reduce is None:
            return self.flatten(gradients), tail
        parts: tuple[Tensor, ...] = ()
        for begin, end in self.buckets[:-1]:
            part = self._after(parts, self.flatten(gradients[begin:end]))
            parts = (self._average_gradient(part), *parts)
        begin, end = self.buckets[-1]
        part = self._after(parts, self.flatten(gradients[begin:end]))
        if self.all_reduce_in_half is None:
            message = self.average(self.concat((part, tail)))
            part, tail = split(message, self.sizes_of_last)
        else:
            part = self._average_gradient(part)
            tail = self.average(self.depend(tail, part))
        return (self.concat((part, *parts)) if parts else part), tail

    def average(self, numbers: Tensor) -> Tensor:
        """Return the mean of a float32 vector over the ranks, a message of its own."""
        if self.all_reduce is None:
            return numbers
        return self.all_reduce(numbers) / self.world_size

    def _average_gradient(self, part: Tensor) -> Tensor:
        if self.all_reduce_in_half is None:
            return self.average(part)
        return self.all_reduce_in_half(part) / self.world_size

    def _after(self, sent: tuple[Tensor, ...], part: Tensor) -> Tensor:
        """Return ``part``, made to wait for the previous message."""
        return self.depend(part, sent[0]) if sent else part


def cut_into_buckets(sizes: Sequence[int], limit: int) -> tuple[tuple[int, int], ...]:
    """Cut a row of parameters, from its end on, into pieces [begin, end) of many values.

    Args:
        sizes: Values of every parameter.
        limit: Values of a piece at most, unless a single parameter has more; 0 for one piece.
    """
    ends, filled = [len(sizes)], 0
    for i in range(len(sizes) - 1, -1, -1):
        if limit and filled and filled + sizes[i] > limit:
            ends.append(i + 1)
            filled = 0
        filled += sizes[i]
    return tuple(zip([*ends[1:], 0], ends, strict=True))

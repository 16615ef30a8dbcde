"""1x1 convolutions of the images of K tasks in one operator, each task with its own weights.

Shapes: N = images of all tasks, H, W = height and width. Maps are NHWC: x (N, H, W, C), or two
halves (N, H, W, C_1) and (N, H, W, C_2) that stand for their concatenation, C = C_1 + C_2; of every
task weight (C_out, C, 1, 1) and bias (C_out,); y (N, H, W, C_out).
"""

import functools
from collections.abc import Sequence
from typing import Any

from mindspore import Tensor, nn, ops

from train.native.operators import operator, options


def pointwise_options(counts: Sequence[int]) -> Tensor:
    """The last input of the operators here.

    Args:
        counts: Images of every task, in their order in the map.
    """
    return options(*counts)


class Pointwise(nn.Cell):
    """y = x * weight + bias, with the weight and bias of the task that an image belongs to.

    A cell around the operator, since the graph compiler takes no gradient of a primitive with any
    number of inputs, but one of a cell with tuples.

    Args:
        num_tasks: K.
        halves: 1 or 2 maps.
    """

    def __init__(self, num_tasks: int, halves: int) -> None:
        super().__init__(auto_prefix=False)
        self.forward = _forward(num_tasks, halves)
        self.gradient = _gradient(num_tasks, halves)
        self.halves = halves
        self.weights = halves + num_tasks

    def construct(
        self,
        maps: tuple[Tensor, ...],
        weights: tuple[Tensor, ...],
        biases: tuple[Tensor, ...],
        options: Tensor,
    ) -> Tensor:
        """The convolutions of all tasks.

        Args:
            maps: x, or its halves.
            weights: Of every task.
            biases: Of every task.
            options: :func:`pointwise_options`.
        """
        return self.forward(*maps, *weights, *biases, options)

    def bprop(self, maps: Any, weights: Any, biases: Any, options: Any, out: Any, dout: Any) -> Any:
        """Gradients of the four inputs."""
        found = self.gradient(dout, *maps, *weights, options)
        return (
            found[: self.halves],
            found[self.halves : self.weights],
            found[self.weights :],
            ops.zeros_like(options),
        )


@functools.cache
def _forward(num_tasks: int, halves: int) -> ops.Custom:
    """Maps, weights, biases, options -> y."""
    return operator(
        "pointwise" if halves == 1 else "pointwise_pair",
        lambda *shapes: (*shapes[0][:3], shapes[halves][0]),
    )


@functools.cache
def _gradient(num_tasks: int, halves: int) -> ops.Custom:
    """dy, maps, weights, options -> gradients of maps, weights and biases."""
    weights = 1 + halves + num_tasks

    def shapes(*inputs: Any) -> Any:
        biases = tuple(shape[:1] for shape in inputs[1 + halves : weights])
        return (*inputs[1:weights], *biases)

    return operator(
        "pointwise_grad" if halves == 1 else "pointwise_pair_grad",
        shapes,
        outputs=halves + 2 * num_tasks,
    )

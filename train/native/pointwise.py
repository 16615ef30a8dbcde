"""1x1 convolutions of the images of K tasks in one operator, each task with its own weights.

Shapes: N = images of all tasks, H, W = height and width. Maps are NHWC: x (N, H, W, C), or two
halves (N, H, W, C_1) and (N, H, W, C_2) that stand for their concatenation, C = C_1 + C_2; of every
task weight (C_out, C, 1, 1) and bias (C_out,); y (N, H, W, C_out).
"""

import functools
from collections.abc import Sequence
from typing import Any

from mindspore import Tensor, ops

from train.native.operators import operator, options


def pointwise_options(counts: Sequence[int]) -> Tensor:
    """The last input of the operators here.

    Args:
        counts: Images of every task, in their order in the map.
    """
    return options(*counts)


@functools.cache
def pointwise(num_tasks: int, halves: int) -> ops.Custom:
    """An operator y = x * weight + bias, with the weight and bias of the task of an image.

    Inputs: x or its halves, K weights and K biases, each kind a tuple; :func:`pointwise_options`.

    A primitive with a gradient, and no cell with one: MindSpore would copy the parameters that such
    a cell is given twice in a step, as the step writes to them.

    Args:
        num_tasks: K.
        halves: 1 or 2 maps.
    """
    gradient = _gradient(num_tasks, halves)
    weights_end = halves + num_tasks

    def bprop(maps: Any, weights: Any, biases: Any, options: Any, out: Any, dout: Any) -> Any:
        found = gradient(dout, maps, weights, options)
        return (
            found[:halves],
            found[halves:weights_end],
            found[weights_end:],
            ops.zeros_like(options),
        )

    return operator(
        "pointwise" if halves == 1 else "pointwise_pair",
        lambda maps, weights, *_: (*maps[0][:3], weights[0][0]),
        bprop=bprop,
    )


@functools.cache
def _gradient(num_tasks: int, halves: int) -> ops.Custom:
    """dy, maps, weights, options -> gradients of maps, weights and biases."""
    return operator(
        "pointwise_grad" if halves == 1 else "pointwise_pair_grad",
        lambda dy, maps, weights, _: (*maps, *weights, *(weight[:1] for weight in weights)),
        outputs=halves + 2 * num_tasks,
    )

"""Operators of trained networks, whose batch norms have moving statistics. They have no gradients.

Shapes: N = images, H, W = height and width, C = channels. Maps are NHWC.
"""

import functools
from collections.abc import Sequence

from mindspore import Tensor, ops

from train.native.operators import operator, options


def convolution_norm_options(stride: int, relu: bool, counts: Sequence[int]) -> Tensor:
    """Return the last input of :func:`convolution_norm`.

    It says whether a ReLU follows the norm, and how many images every domain has, in their order
    in the map.
    """
    return options(stride, int(relu), *counts)


def has_convolution_norm(in_channels: int, out_channels: int, kernel_size: int) -> bool:
    """Return whether :func:`convolution_norm` knows such a convolution, of stride 1 or 2."""
    return kernel_size == 3 and in_channels % 16 == 0 and out_channels % 16 == 0


@functools.cache
def convolution_norm(stride: int, bias: bool) -> ops.Custom:
    """Return an operator for a 3x3 convolution and the batch norm of each of K domains after it.

    Inputs: x (N, H, W, C_in); weight (C_out, C_in, 3, 3); bias (C_out,), if there is one; K gammas,
    K betas, K moving means and K moving variances (C_out,), each kind a tuple;
    :func:`convolution_norm_options`.

    Output: y (N, ceil(H / stride), ceil(W / stride), C_out).
    """
    return operator(
        "convolution_bias_norm" if bias else "convolution_norm",
        lambda x, weight, *_: (x[0], -(-x[1] // stride), -(-x[2] // stride), weight[0]),
    )


def attention_options(counts: Sequence[int], dataset_of_task: Sequence[int]) -> Tensor:
    """Return the last input of :func:`attention`.

    Args:
        counts: Images of every data set, in their order in the shared map.
        dataset_of_task: For every task, the number of its data set.
    """
    firsts = [sum(counts[:d]) for d in dataset_of_task]
    return options(*(counts[d] for d in dataset_of_task), *firsts)


@functools.cache
def attention(halves: int, images: int) -> ops.Custom:
    """Return an operator for the attention modules of K tasks on one level.

    Args:
        halves: See below.
        images: N', the images of all tasks.

    Inputs: a tuple with x (N, H, W, C) of all data sets, and with 2 ``halves`` (N', H, W, C_2) of
    all tasks; of the first 1x1 convolution K weights (M, C + C_2, 1, 1), K biases, gammas, betas,
    moving means and moving variances (M,), each kind a tuple; the same of the second one,
    (C, M, 1, 1) and (C,); :func:`attention_options`.

    Output: x under the soft masks of all tasks, one task's images after the other, (N', H, W, C).
    """
    name = "attention" if halves == 1 else "attention_pair"
    return operator(name, lambda maps, *_: (images, *maps[0][1:]))

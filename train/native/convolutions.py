"""Convolutions of NHWC maps: one for all images, and 1x1 ones with weights of each of K tasks.

Shapes: N = images, H, W = height and width, C = channels.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

from mindspore import Tensor, ops

from train.native.operators import operator, options


def convolution_options(stride: int) -> Tensor:
    """Return the last input of :func:`convolution`."""
    return options(stride)


@functools.cache
def convolution(
    stride: int, bias: bool = True, residual: bool = False, needs_dx: bool = True
) -> ops.Custom:
    """Return an operator for y = x * weight (+ bias) (+ residual), a map with k // 2 zeros around.

    Inputs: x (N, H, W, C_in); weight (C_out, C_in, k, k) with odd k; bias (C_out,), if there is
    one; residual, of the shape of y, if there is one; :func:`convolution_options`.

    Output: y (N, ceil(H / stride), ceil(W / stride), C_out). Unless it ``needs_dx``, the gradient
    of x is zeros.
    """
    gradients = _convolution_gradients(bias, residual, needs_dx)

    # The graph compiler takes no bprop with *inputs.
    def of_neither(x: Any, weight: Any, options: Any, out: Any, dout: Any) -> Any:
        return (*gradients(dout, x, weight, options), ops.zeros_like(options))

    def of_one(x: Any, weight: Any, _: Any, options: Any, out: Any, dout: Any) -> Any:
        return (*gradients(dout, x, weight, options), ops.zeros_like(options))

    def of_both(x: Any, weight: Any, _: Any, __: Any, options: Any, out: Any, dout: Any) -> Any:
        return (*gradients(dout, x, weight, options), ops.zeros_like(options))

    primitive = operator(
        "convolution" + ("_bias" if bias else "") + ("_residual" if residual else ""),
        lambda x, weight, *_: (x[0], -(-x[1] // stride), -(-x[2] // stride), weight[0]),
        bprop=(of_neither, of_one, of_both)[bias + residual],
    )
    # The compiler takes two calls for the same if names, attributes and inputs are equal.
    primitive.add_prim_attr("needs_dx", needs_dx)
    return primitive


def _convolution_gradients(bias: bool, residual: bool, needs_dx: bool) -> Callable[..., Any]:
    """Return a function of dy, x, weight, options -> gradients of all inputs but the options."""

    def shapes(dy: Any, x: Any, weight: Any, _: Any) -> Any:
        found = [x] * needs_dx + [weight] + [weight[:1]] * bias
        return tuple(found) if len(found) > 1 else weight

    primitive = operator("convolution_grad", shapes, outputs=1 + needs_dx + bias)

    def gradients(dy: Any, x: Any, weight: Any, options: Any) -> Any:
        found = primitive(dy, x, weight, options)
        if not needs_dx:
            found = (ops.zeros_like(x), *found) if bias else (ops.zeros_like(x), found)
        return (*found, dy) if residual else found

    return gradients


def pointwise_options(counts: Sequence[int]) -> Tensor:
    """Return the last input of :func:`pointwise`: images of every task, as ordered in the map."""
    return options(*counts)


@functools.cache
def pointwise(num_tasks: int, halves: int) -> ops.Custom:
    """Return an operator for 1x1 convolutions, with the weight and bias of the task of an image.

    Inputs: a tuple with x (N, H, W, C), or with 2 ``halves`` (N, H, W, C_1) and (N, H, W, C_2) that
    stand for their concatenation, C = C_1 + C_2; K weights (C_out, C, 1, 1) and K biases (C_out,),
    each kind a tuple; :func:`pointwise_options`.

    Output: y (N, H, W, C_out).

    A primitive with a gradient, and no cell with one: MindSpore would copy the parameters that such
    a cell is given twice in a step, as the step writes to them.
    """
    name = "pointwise" if halves == 1 else "pointwise_pair"
    # dy, maps, weights, options -> gradients of maps, weights and biases.
    gradient = operator(
        f"{name}_grad",
        lambda dy, maps, weights, _: (*maps, *weights, *(weight[:1] for weight in weights)),
        outputs=halves + 2 * num_tasks,
    )

    def bprop(maps: Any, weights: Any, biases: Any, options: Any, out: Any, dout: Any) -> Any:
        found = gradient(dout, maps, weights, options)
        of_parameters = found[halves : halves + num_tasks], found[halves + num_tasks :]
        return (found[:halves], *of_parameters, ops.zeros_like(options))

    return operator(name, lambda maps, weights, *_: (*maps[0][:3], weights[0][0]), bprop=bprop)

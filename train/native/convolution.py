"""Convolution of maps in NHWC order, with what is added to its result.

Shapes: N = images, H, W = height and width, C = channels. x (N, H, W, C_in), weight (C_out, C_in,
k, k) with odd k, bias (C_out,), y (N, ceil(H / stride), ceil(W / stride), C_out). A map has k // 2
zeros around it.
"""

import functools
from collections.abc import Callable
from typing import Any

from mindspore import Tensor, ops

from train.native.operators import operator, options


def convolution_options(stride: int) -> Tensor:
    """The last input of the operators here."""
    return options(stride)


@functools.cache
def convolution(
    stride: int, bias: bool = True, residual: bool = False, needs_dx: bool = True
) -> ops.Custom:
    """A convolution: y = x * weight (+ bias) (+ residual).

    Inputs: x; weight; bias, if there is one; residual, of the shape of y, if there is one;
    :func:`convolution_options`.

    Args:
        stride: The convolution's.
        bias: Whether there is a bias.
        residual: Whether there is a residual.
        needs_dx: Whether x has a gradient; without one, the operator gives zeros.
    """
    gradients = _gradients(bias, needs_dx)

    # The graph compiler takes no bprop with *inputs.
    def of_neither(x: Any, weight: Any, options: Any, out: Any, dout: Any) -> Any:
        return (*gradients(dout, x, weight, options), ops.zeros_like(options))

    def of_bias(x: Any, weight: Any, bias: Any, options: Any, out: Any, dout: Any) -> Any:
        return (*gradients(dout, x, weight, options), ops.zeros_like(options))

    def of_residual(x: Any, weight: Any, residual: Any, options: Any, out: Any, dout: Any) -> Any:
        return (*gradients(dout, x, weight, options), dout, ops.zeros_like(options))

    def of_both(
        x: Any, weight: Any, bias: Any, residual: Any, options: Any, out: Any, dout: Any
    ) -> Any:
        return (*gradients(dout, x, weight, options), dout, ops.zeros_like(options))

    bprops: dict[tuple[bool, bool], Callable[..., Any]] = {
        (False, False): of_neither,
        (True, False): of_bias,
        (False, True): of_residual,
        (True, True): of_both,
    }
    name = "convolution" + ("_bias" if bias else "") + ("_residual" if residual else "")
    primitive = operator(
        name,
        lambda x, weight, *_: (x[0], -(-x[1] // stride), -(-x[2] // stride), weight[0]),
        bprop=bprops[bias, residual],
    )
    # The compiler takes two calls for the same if names, attributes and inputs are equal.
    primitive.add_prim_attr("needs_dx", needs_dx)
    return primitive


def _gradients(bias: bool, needs_dx: bool) -> Callable[..., Any]:
    """A function of dy, x, weight, options -> (dx, dweight, dbias if there is one)."""

    def shapes(dy: Any, x: Any, weight: Any, _: Any) -> Any:
        found = [x] * needs_dx + [weight] + [weight[:1]] * bias
        return tuple(found) if len(found) > 1 else weight

    primitive: Callable[..., Any] = operator(
        "convolution_grad", shapes, outputs=1 + needs_dx + bias
    )

    def without_dx(dy: Any, x: Any, weight: Any, options: Any) -> Any:
        return (ops.zeros_like(x), *primitive(dy, x, weight, options))

    def dweight_alone(dy: Any, x: Any, weight: Any, options: Any) -> Any:
        return ops.zeros_like(x), primitive(dy, x, weight, options)

    return primitive if needs_dx else without_dx if bias else dweight_alone

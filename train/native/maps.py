"""Operators on NHWC maps without parameters: max-pooling, resizing, and the gate of attention.

Shapes: N = images, H, W = height and width, C = channels.
"""

import functools
from typing import Any

from mindspore import Tensor, ops

from train.native.operators import operator, options


def max_pool_options(kernel: int, stride: int, symmetric: bool = False) -> Tensor:
    """Return the last input of :func:`max_pool`: 1 <= stride <= kernel <= 15.

    With ``symmetric``, windows reach over the edge as far above and left as below and right, by
    kernel // 2, as in PyTorch; the kernel must be odd then, and larger than the stride.
    """
    return options(kernel, stride, int(symmetric))


@functools.cache
def max_pool(stride: int) -> ops.Custom:
    """Return an operator like ``mindspore.nn.MaxPool2d(..., pad_mode="same")``.

    H becomes ceil(H / stride), and where a window reaches over the edge (if it is not
    ``symmetric``), there is as much below and right as above and left, or one more. Unlike there,
    NaN gets the gradient where it wins, and a window of negative infinities has its own value.

    Inputs: x (N, H, W, C), :func:`max_pool_options`.

    Outputs: y (N, ceil(H / stride), ceil(W / stride), C), and what the gradient needs: where in its
    window the winner is, a byte for every value of y.
    """

    def out_shape(x: Any, opts: Any) -> Any:
        y = (x[0], -(-x[1] // stride), -(-x[2] // stride), x[3])
        # Outputs are floats: four bytes each.
        return y, (-(-y[0] * y[1] * y[2] * y[3] // 4),)

    def bprop(x: Any, opts: Any, out: Any, dout: Any) -> Any:
        # Of x its size alone, so that its memory is free by then.
        gradient = _to_size("max_pool_grad", x.shape[1], x.shape[2])
        return gradient(dout[0], out[1], opts), ops.zeros_like(opts)

    return operator("max_pool", out_shape, outputs=2, bprop=bprop)


# Graphs ask for it while they are compiled, when they know the sizes.
@ops.constexpr  # type: ignore[untyped-decorator]
@functools.cache
def resize(height: int, width: int) -> ops.Custom:
    """Return an operator like ``mindspore.ops.ResizeBilinearV2(half_pixel_centers=True)``.

    The new size may be smaller, too.

    Input: x (N, H, W, C). Output: (N, ``height``, ``width``, C).
    """

    def bprop(x: Any, out: Any, dout: Any) -> Any:
        return (_to_size("resize_grad", x.shape[1], x.shape[2])(dout),)

    return operator("resize", lambda x: (x[0], height, width, x[3]), bprop=bprop)


@ops.constexpr  # type: ignore[untyped-decorator]
@functools.cache
def _to_size(name: str, height: int, width: int) -> ops.Custom:
    """Return a gradient whose map is (N, ``height``, ``width``, C)."""
    return operator(name, lambda dy, *_: (dy[0], height, width, dy[3]))


@functools.cache
def gate() -> ops.Custom:
    """Return an operator for sigmoid(z) * gated: the mask of an attention module over a map.

    Inputs: z and ``gated``, of one shape, which the output has too.
    """
    gradient = operator("gate_grad", lambda dout, z, gated: (z, gated), outputs=2)

    def bprop(z: Any, gated: Any, out: Any, dout: Any) -> Any:
        return gradient(dout, z, gated)

    return operator("gate", lambda z, gated: z, bprop=bprop)

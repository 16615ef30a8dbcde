"""Max-pooling with "same" padding of NHWC maps.

As ``mindspore.nn.MaxPool2d(..., pad_mode="same")``: H becomes ceil(H / stride), and where a window
reaches over the edge, there is as much below and right as above and left, or one more. Unlike
there, NaN gets the gradient where it wins, and a window of negative infinities has its own value.
"""

import functools
from typing import Any

from mindspore import Tensor, ops

from train.native.operators import operator, options


def max_pool_options(kernel: int, stride: int) -> Tensor:
    """The last input of the operator: 1 <= stride <= kernel <= 15."""
    return options(kernel, stride)


@functools.cache
def max_pool(stride: int) -> ops.Custom:
    """Inputs: x (N, H, W, C), :func:`max_pool_options`.

    Outputs: y (N, ceil(H / stride), ceil(W / stride), C), and what the gradient needs: where in its
    window the winner is, a byte for every value of y.
    """

    def out_shape(x: Any, opts: Any) -> Any:
        y = (x[0], -(-x[1] // stride), -(-x[2] // stride), x[3])
        # Outputs are floats: four bytes each.
        return y, (-(-y[0] * y[1] * y[2] * y[3] // 4),)

    def bprop(x: Any, opts: Any, out: Any, dout: Any) -> Any:
        # Of x its size alone, so that its memory is free by then.
        gradient = _gradient(x.shape[1], x.shape[2])
        return gradient(dout[0], out[1], opts), ops.zeros_like(opts)

    return operator("max_pool", out_shape, outputs=2, bprop=bprop)


# Graphs ask for it while they are compiled, when they know the sizes.
@ops.constexpr  # type: ignore[untyped-decorator]
@functools.cache
def _gradient(height: int, width: int) -> ops.Custom:
    return operator("max_pool_grad", lambda dy, *_: (dy[0], height, width, dy[3]))

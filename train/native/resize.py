"""Bilinear interpolation of NHWC maps to another size."""

import functools
from typing import Any

from mindspore import ops

from train.native.operators import operator


@functools.cache
def resize(height: int, width: int) -> ops.Custom:
    """As ``mindspore.ops.ResizeBilinearV2(half_pixel_centers=True)``, also to smaller sizes.

    Input: x (N, H, W, C). Output: (N, ``height``, ``width``, C).
    """

    def bprop(x: Any, out: Any, dout: Any) -> Any:
        return (_gradient_to(x.shape[1], x.shape[2])(dout),)

    return operator("resize", lambda x: (x[0], height, width, x[3]), bprop=bprop)


@functools.cache
def _gradient(height: int, width: int) -> ops.Custom:
    return operator("resize_grad", lambda dy: (dy[0], height, width, dy[3]))


# Graphs may ask for them while they are compiled.
resize_to = ops.constexpr(resize)
_gradient_to = ops.constexpr(_gradient)

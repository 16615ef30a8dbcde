"""Bilinear interpolation of NHWC maps to another size."""

import functools
from typing import Any

from mindspore import ops

from train.native.operators import operator


# Graphs ask for it while they are compiled, when they know the sizes.
@ops.constexpr  # type: ignore[untyped-decorator]
@functools.cache
def resize(height: int, width: int) -> ops.Custom:
    """As ``mindspore.ops.ResizeBilinearV2(half_pixel_centers=True)``, also to smaller sizes.

    Input: x (N, H, W, C). Output: (N, ``height``, ``width``, C).
    """

    def bprop(x: Any, out: Any, dout: Any) -> Any:
        return (_gradient(x.shape[1], x.shape[2])(dout),)

    return operator("resize", lambda x: (x[0], height, width, x[3]), bprop=bprop)


@ops.constexpr  # type: ignore[untyped-decorator]
@functools.cache
def _gradient(height: int, width: int) -> ops.Custom:
    return operator("resize_grad", lambda dy: (dy[0], height, width, dy[3]))

"""The mean over the pixels of NHWC maps: global average pooling."""

import functools
from typing import Any

from mindspore import ops

from train.native.operators import operator


@functools.cache
def pixel_mean() -> ops.Custom:
    """Input: x (N, H, W, C). Output: (N, C)."""

    def bprop(x: Any, out: Any, dout: Any) -> Any:
        return (_gradient(x.shape[1], x.shape[2])(dout),)

    return operator("pixel_mean", lambda x: (x[0], x[3]), bprop=bprop)


# Graphs ask for it while they are compiled, when they know the sizes.
@ops.constexpr  # type: ignore[untyped-decorator]
@functools.cache
def _gradient(height: int, width: int) -> ops.Custom:
    return operator("pixel_mean_grad", lambda dy: (dy[0], height, width, dy[1]))

"""The layers that an Ascend NPU launches kernel by kernel (``jit_level: O0`` or ``O1``).

They compute what those of :mod:`train.model.layers` do, with operators of CANN's newer interface
(aclnn): a convolution with its bias or a batch norm is one kernel, and its gradient another, where
the operators that the graph engine knows are two to three kernels each.

Shapes: N = images, C = channels, H, W = height and width of a feature map.
"""

from collections.abc import Sequence

import mindspore as ms
from mindspore import Tensor, mint, nn, ops

from train.model import layers as stock
from train.model.layers import CrossEntropies, Gate, GroupNorm, LinearHeads

__all__ = [
    "BatchNorm",
    "Conv",
    "CrossEntropies",
    "DomainNorm",
    "Gate",
    "GroupNorm",
    "LinearHeads",
    "MaxPool",
    "Resize",
]

_functional = mint.nn.functional


class Conv(stock.Conv):
    """A convolution; see :meth:`train.model.backend.Backend.conv`."""

    def construct(self, x: Tensor, *residual: Tensor) -> Tensor:
        """(N, C_in, H, W)[, what is added] -> (N, C_out, ceil(H / stride), ceil(W / stride))."""
        weight, bias = self.weight, self.bias if self.has_bias else None
        if self.half is not None:
            weight = weight.astype(self.half)
            bias = None if bias is None else bias.astype(self.half)
        y = _functional.conv2d(x, weight, bias, self.stride[0], self.kernel_size[0] // 2)
        return y + residual[0] if residual else y


class BatchNorm(stock.BatchNorm):
    """Batch norm over all images together, followed by a ReLU if asked for."""

    def construct(self, x: Tensor, counts: Sequence[int]) -> Tensor:
        """(N, C, H, W) -> the same."""
        y = _functional.batch_norm(
            x,
            self.moving_mean,
            self.moving_variance,
            self.gamma,
            self.beta,
            self.training,
            self.momentum,  # as PyTorch counts: nn.BatchNorm2d turns ours round
            self.eps,
        )
        return ops.relu(y) if self.relu else y


class DomainNorm(stock.DomainNorm):
    """See the base class."""

    batch_norm = BatchNorm


class MaxPool(nn.Cell):
    """A max-pool whose windows do not overlap.

    Args:
        size: Height and width of a window; beyond the map's end it is cut off.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def construct(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, ceil(H / size), ceil(W / size))."""
        # The operator does not know bfloat16.
        maps = x.astype(ms.float32) if x.dtype == ms.bfloat16 else x
        return _functional.max_pool2d(maps, self.size, self.size, ceil_mode=True).astype(x.dtype)


class Resize(nn.Cell):
    """See :meth:`train.model.backend.Backend.resize`."""

    def construct(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        """(N, C, H, W) -> (N, C, *size)."""
        if x.shape[2:] == size:
            return x
        return _functional.interpolate(x, size=size, mode="bilinear", align_corners=False)

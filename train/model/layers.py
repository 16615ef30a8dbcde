"""Convolution and normalisation layers that every part of the network is made of.

Shapes: N = images, C = channels, H, W = height and width of a feature map. Tensors are NCHW.
"""

from typing import Literal

from mindspore import nn
from mindspore.common.initializer import HeNormal

Norm = Literal["batch", "group"]

_MAX_GROUPS = 8


def conv(in_channels: int, out_channels: int, kernel_size: int, stride: int = 1) -> nn.Conv2d:
    """A convolution with bias and Kaiming initialisation that maps H to ceil(H / stride)."""
    return nn.Conv2d(
        in_channels,
        out_channels,
        kernel_size,
        stride=stride,
        pad_mode="pad",
        padding=kernel_size // 2,
        has_bias=True,
        weight_init=HeNormal(mode="fan_out", nonlinearity="relu"),
        bias_init="zeros",
    )


def norm(kind: Norm, channels: int) -> nn.Cell:
    """Batch norm, or group norm where every image must count for itself.

    Group norm makes N ranks with b images equal one rank with N * b images, which batch norm
    cannot. The number of groups is the largest divisor of ``channels`` up to 8.
    """
    if kind == "batch":
        # MindSpore's momentum weighs the OLD statistics (PyTorch's weighs the new ones).
        return nn.BatchNorm2d(channels, momentum=0.9)
    groups = max(g for g in range(1, _MAX_GROUPS + 1) if channels % g == 0)
    return nn.GroupNorm(groups, channels)

"""Convolution and normalisation layers that every part of the network is made of.

Every norm takes, beside the map, the number of images of each data set in it: what is normalised
may depend on where an image comes from (see :class:`DomainNorm`).

Shapes: N = images, C = channels, H, W = height and width of a feature map. Tensors are NCHW.
"""

from collections.abc import Sequence
from typing import Literal

from mindspore import Tensor, mint, nn, ops
from mindspore.common.initializer import HeNormal

Norm = Literal["batch", "group", "domain"]

_MAX_GROUPS = 8


def conv(
    in_channels: int, out_channels: int, kernel_size: int, stride: int = 1, bias: bool = True
) -> nn.Conv2d:
    """A convolution with Kaiming initialisation that maps H to ceil(H / stride)."""
    return nn.Conv2d(
        in_channels,
        out_channels,
        kernel_size,
        stride=stride,
        pad_mode="pad",
        padding=kernel_size // 2,
        has_bias=bias,
        weight_init=HeNormal(mode="fan_out", nonlinearity="relu"),
        bias_init="zeros",
    )


def norm(kind: Norm, channels: int, domains: Sequence[str] = ()) -> nn.Cell:
    """A norm: ``construct(x, counts)`` normalises a map (N, C, H, W) of ``counts[d]`` images each.

    Args:
        kind: ``batch``; ``group``, where every image counts for itself; or ``domain``.
        channels: C.
        domains: Names of what the images come from, in their order in the map. With less than two,
            ``domain`` is the same as ``batch``.
    """
    if kind == "domain" and len(domains) > 1:
        return DomainNorm(channels, domains)
    return GroupNorm(channels) if kind == "group" else BatchNorm(channels)


class BatchNorm(nn.BatchNorm2d):
    """Batch norm over all images together."""

    def __init__(self, channels: int) -> None:
        # MindSpore's momentum weighs the OLD statistics (PyTorch's weighs the new ones).
        super().__init__(channels, momentum=0.9)

    def construct(self, x: Tensor, counts: Sequence[int]) -> Tensor:
        """(N, C, H, W) -> the same."""
        return super().construct(x)


class GroupNorm(nn.GroupNorm):
    """Group norm: N ranks with b images equal one rank with N * b, which batch norm cannot.

    The number of groups is the largest divisor of ``channels`` up to 8.
    """

    def __init__(self, channels: int) -> None:
        groups = max(g for g in range(1, _MAX_GROUPS + 1) if channels % g == 0)
        super().__init__(groups, channels)

    def construct(self, x: Tensor, counts: Sequence[int]) -> Tensor:
        """(N, C, H, W) -> the same."""
        return super().construct(x)


class DomainNorm(nn.Cell):
    """Batch norm with statistics, scales and shifts for every domain.

    Chang et al., "Domain-Specific Batch Normalization for Unsupervised Domain Adaptation", CVPR
    2019.
    """

    def __init__(self, channels: int, domains: Sequence[str]) -> None:
        super().__init__()
        self.of = nn.CellDict({name: BatchNorm(channels) for name in domains})
        self.concat = ops.Concat(0)

    def construct(self, x: Tensor, counts: Sequence[int]) -> Tensor:
        """(N, C, H, W) -> the same."""
        parts = mint.split(x, counts)
        norms = self.of.values()
        return self.concat([own(part, counts) for own, part in zip(norms, parts)])  # noqa: B905

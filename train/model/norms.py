"""Norms, over maps (N, C, H, W): N images, C channels, height H and width W.

Every norm takes, beside the map, the number of images of each data set or task in it: what is
normalised may depend on where an image comes from (see :class:`DomainNorm`).
"""

from collections.abc import Sequence

from mindspore import Tensor, mint, nn, ops

_MAX_GROUPS = 8


def num_groups(channels: int) -> int:
    """Groups of a group norm: the largest divisor of ``channels`` up to 8."""
    return max(g for g in range(1, _MAX_GROUPS + 1) if channels % g == 0)


class BatchNorm(nn.BatchNorm2d):
    """Batch norm over all images together, followed by a ReLU if asked for."""

    def __init__(self, channels: int, relu: bool) -> None:
        # MindSpore's momentum weighs the OLD statistics (PyTorch's weighs the new ones).
        super().__init__(channels, momentum=0.9)
        self.relu = relu

    def construct(self, x: Tensor, counts: Sequence[int]) -> Tensor:
        """(N, C, H, W) -> the same."""
        y = super().construct(x)
        return ops.relu(y) if self.relu else y


class GroupNorm(nn.GroupNorm):
    """Group norm, followed by a ReLU if asked for.

    With it N ranks with b images equal one rank with N * b, which batch norm cannot.
    """

    def __init__(self, channels: int, relu: bool) -> None:
        super().__init__(num_groups(channels), channels)
        self.relu = relu

    def construct(self, x: Tensor, counts: Sequence[int]) -> Tensor:
        """(N, C, H, W) -> the same."""
        y = super().construct(x)
        return ops.relu(y) if self.relu else y


class DomainNorm(nn.Cell):
    """Batch norm with statistics, scales and shifts for every domain.

    Chang et al., "Domain-Specific Batch Normalization for Unsupervised Domain Adaptation", CVPR
    2019.
    """

    def __init__(self, channels: int, domains: Sequence[str], relu: bool) -> None:
        super().__init__()
        self.of = nn.CellDict({name: BatchNorm(channels, relu) for name in domains})
        self.concat = ops.Concat(0)

    def construct(self, x: Tensor, counts: Sequence[int]) -> Tensor:
        """(N, C, H, W) -> the same."""
        parts = mint.split(x, counts)
        norms = self.of.values()
        return self.concat([own(part, counts) for own, part in zip(norms, parts)])  # noqa: B905

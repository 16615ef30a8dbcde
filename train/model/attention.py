"""Attention modules (one per task and level) and the feature extractors the tasks share.

MTLN (Zheng et al., TGRS 60, 2022) after MTAN (Liu, Johns and Davison, CVPR 2019).

Shapes: N = images, C = channels, H, W = height and width. Maps are (N, C, H, W), or as the layers
order their axes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mindspore import Tensor, mint, nn, ops

if TYPE_CHECKING:
    from train.model.stock_backend import Layers


class AttentionModule(nn.Cell):
    """1x1 conv - norm - ReLU - 1x1 conv - norm: the logits of a soft mask over a shared map.

    Its images are those of one task, so it has one domain.
    """

    def __init__(self, in_channels: int, channels: int, layers: Layers) -> None:
        super().__init__()
        self.conv1 = layers.conv(in_channels, channels, 1)
        self.norm1 = layers.norm(channels, relu=True)
        self.conv2 = layers.conv(channels, channels, 1)
        self.norm2 = layers.norm(channels)

    def construct(self, x: Tensor) -> Tensor:
        """(N, C_in, H, W) -> (N, C, H, W)."""
        counts = [x.shape[0]]
        x = self.norm1(self.conv1(x), counts)
        logits: Tensor = self.norm2(self.conv2(x), counts)
        return logits


class AttentionLevel(nn.Cell):
    """The attention modules of all tasks on one level, each on its own task's images.

    Args:
        modules: One per task. They belong to the task branches: none becomes a child of this cell.
        gate: (logits of a mask, map) -> the masked map.
        channel_axis: Axis of the channels in a map.
    """

    def __init__(
        self, modules: Sequence[AttentionModule], gate: nn.Cell, channel_axis: int
    ) -> None:
        super().__init__(auto_prefix=False)
        self.modules = tuple(modules)
        self.gate = gate
        self.concat = ops.Concat(0)
        self.concat_channels = ops.Concat(channel_axis)

    def construct(self, counts: Sequence[int], shared: Tensor, *extracted: Tensor) -> Tensor:
        """Masks the shared map.

        Args:
            counts: Images of every task.
            shared: The shared map with the images of all tasks, one task after the other.
            extracted: From level 1 on, what the extractor has made of the level before.

        Returns:
            The masked map, of the shape of ``shared``.
        """
        seen = self.concat_channels((shared, *extracted)) if extracted else shared
        logits = [
            module(part)
            for module, part in zip(self.modules, mint.split(seen, counts))  # noqa: B905
        ]
        return self.gate(self.concat(logits), shared)


class FeatureExtractor(nn.Cell):
    """3x3 conv - norm - ReLU, and a max-pool down to the next level's size.

    Args:
        in_channels: Channels of the masked maps.
        channels: Channels of the next level.
        tasks: The tasks whose maps come together here.
        stride: By how much the next level is smaller.
        layers: What it is made of.
    """

    def __init__(
        self, in_channels: int, channels: int, tasks: Sequence[str], stride: int, layers: Layers
    ) -> None:
        super().__init__()
        self.conv = layers.conv(in_channels, channels, 3)
        self.norm = layers.norm(channels, tasks, relu=True)
        self.pool = layers.max_pool(stride, stride) if stride > 1 else nn.Identity()

    def construct(self, x: Tensor, counts: Sequence[int]) -> Tensor:
        """(N, C_in, H, W), ``counts[t]`` images of every task -> (N, C, ceil(H / stride), ...)."""
        return self.pool(self.norm(self.conv(x), counts))

"""Heads: what turns a task's feature maps of all levels into its answer.

Shapes: N = images of the task, C_l, H_l, W_l = channels, height and width of level l, K = classes,
H, W = height and width of the images. Maps are (N, C_l, H_l, W_l), or as the layers order their
axes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mindspore import Tensor, mint, nn

if TYPE_CHECKING:
    from train.model.stock_backend import Layers


class ClassificationHead(nn.Cell):
    """Global average pooling of the last level and a linear layer."""

    def __init__(self, channels: int, num_classes: int, layers: Layers) -> None:
        super().__init__()
        self.pixels = (layers.height_axis, layers.height_axis + 1)
        self.linear = layers.linear(channels, num_classes)

    def construct(self, x: Tensor) -> Tensor:
        """Map of the last level -> logits (N, K)."""
        return self.linear(x.mean(self.pixels))


class SceneHeads(nn.Cell):
    """The heads of all scene tasks, each on its own task's images.

    Args:
        heads: One per scene task. They belong to the task branches: none becomes a child of this
            cell.
        tasks: For every head, the position of its task among all tasks.
    """

    def __init__(self, heads: Sequence[ClassificationHead], tasks: Sequence[int]) -> None:
        super().__init__(auto_prefix=False)
        self.heads = tuple(heads)
        self.tasks = tuple(tasks)

    def construct(self, x: Tensor, counts: Sequence[int]) -> list[Tensor]:
        """The logits of every scene task.

        Args:
            x: The last level's map with the images of all tasks, one task after the other.
            counts: Images of every task.
        """
        parts = mint.split(x, counts)
        return [head(parts[i]) for head, i in zip(self.heads, self.tasks)]  # noqa: B905


class SegmentationHead(nn.Cell):
    """A top-down decoder: from the last level up, each level adds what it knows more precisely.

    After the feature pyramid network (Lin et al., CVPR 2017), with one output at the finest level.

    Args:
        channels: Channels of all levels.
        num_classes: K.
        width: Channels of the decoder.
        layers: What it is made of.
    """

    def __init__(
        self, channels: Sequence[int], num_classes: int, width: int, layers: Layers
    ) -> None:
        super().__init__()
        self.lateral = nn.CellList([layers.conv(c, width, 1) for c in channels])
        self.conv = layers.conv(width, width, 3)
        self.norm = layers.norm(width, relu=True)
        self.classify = layers.conv(width, num_classes, 1)
        self.resize = layers.resize()
        self.channels_first = layers.channels_first()
        self.height_axis = layers.height_axis

    def construct(self, features: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
        """Maps (N, C_l, H_l, W_l) -> logits (N, K, H, W)."""
        axis = self.height_axis
        last = len(features) - 1
        x = self.lateral[last](features[last])
        for level in range(last - 1, -1, -1):
            finer = features[level]
            x = self.lateral[level](finer, self.resize(x, finer.shape[axis : axis + 2]))
        x = self.norm(self.conv(x), [x.shape[0]])
        return self.channels_first(self.resize(self.classify(x), size))

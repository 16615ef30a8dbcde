"""Heads: what turns a task's feature maps of all levels into its answer.

Shapes: N = images of the task, C_l, H_l, W_l = channels, height and width of level l, K = classes,
H, W = height and width of the images. Tensors are NCHW.
"""

from collections.abc import Sequence

from mindspore import Tensor, nn, ops
from mindspore.common.initializer import Normal

from train.model.layers import Norm, conv, norm


class ClassificationHead(nn.Cell):
    """Global average pooling of the last level and a linear layer."""

    def __init__(self, channels: int, num_classes: int) -> None:
        super().__init__()
        self.linear = nn.Dense(channels, num_classes, weight_init=Normal(0.01), bias_init="zeros")

    def construct(self, features: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
        """Maps (N, C_l, H_l, W_l) -> logits (N, K)."""
        return self.linear(features[-1].mean((2, 3)))


class SegmentationHead(nn.Cell):
    """A top-down decoder: from the last level up, each level adds what it knows more precisely.

    After the feature pyramid network (Lin et al., CVPR 2017), with one output at the finest level.

    Args:
        channels: Channels of all levels.
        num_classes: K.
        width: Channels of the decoder.
        norm_kind: Kind of norm.
    """

    def __init__(
        self, channels: Sequence[int], num_classes: int, width: int, norm_kind: Norm
    ) -> None:
        super().__init__()
        self.lateral = nn.CellList([conv(c, width, 1) for c in channels])
        self.conv = conv(width, width, 3)
        self.norm = norm(norm_kind, width)
        self.relu = nn.ReLU()
        self.classify = conv(width, num_classes, 1)
        self.resize = Resize()

    def construct(self, features: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
        """Maps (N, C_l, H_l, W_l) -> logits (N, K, H, W)."""
        last = len(features) - 1
        x = self.lateral[last](features[last])
        for level in range(last - 1, -1, -1):
            x = self.resize(x, features[level].shape[2:]) + self.lateral[level](features[level])
        x = self.relu(self.norm(self.conv(x), [x.shape[0]]))
        return self.resize(self.classify(x), size)


class Resize(nn.Cell):
    """Bilinear interpolation to another size."""

    def __init__(self) -> None:
        super().__init__()
        self.interpolate = ops.ResizeBilinearV2(half_pixel_centers=True)

    def construct(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        """(N, C, H_l, W_l) -> (N, C, *size)."""
        if x.shape[2:] == size:
            return x
        return self.interpolate(x, size)

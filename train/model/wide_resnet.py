"""Wide residual network, the trunk of the shared branch.

Zagoruyko and Komodakis, "Wide Residual Networks", BMVC 2016, in the variant of the MTLN and MTAN
reference code: pre-activation blocks, biased convolutions, stride 2 in all three stages on the
second convolution of the first block, no dropout.

Shapes: N = images, C = channels, H, W = height and width. Tensors are NCHW.
"""

from mindspore import Tensor, nn

from train.model.layers import Norm, conv, norm


class WideBlock(nn.Cell):
    """Norm-ReLU-conv twice, plus the identity or a 1x1 convolution of the input."""

    def __init__(self, in_channels: int, channels: int, stride: int, norm_kind: Norm) -> None:
        super().__init__()
        self.norm1 = norm(norm_kind, in_channels)
        self.conv1 = conv(in_channels, channels, 3)
        self.norm2 = norm(norm_kind, channels)
        self.conv2 = conv(channels, channels, 3, stride)
        self.relu = nn.ReLU()
        self.project = stride != 1 or in_channels != channels
        if self.project:
            self.shortcut = conv(in_channels, channels, 1, stride)

    def construct(self, x: Tensor) -> Tensor:
        """(N, C_in, H, W) -> (N, C, ceil(H / stride), ceil(W / stride))."""
        y = self.conv1(self.relu(self.norm1(x)))
        y = self.conv2(self.relu(self.norm2(y)))
        if self.project:
            x = self.shortcut(x)
        return x + y


class WideResNet(nn.Cell):
    """WRN-``depth``-``width`` without its classifier: returns four feature maps.

    Attributes:
        channels: Channels of the four maps; their strides are 1, 2, 4 and 8.

    Raises:
        ValueError: ``depth`` is not 6 n + 4.
    """

    def __init__(self, depth: int, width: int, norm_kind: Norm = "batch") -> None:
        super().__init__()
        if depth < 10 or (depth - 4) % 6:
            raise ValueError(f"depth of a wide ResNet must be 10, 16, 22, 28, ..., not {depth}")
        num_blocks = (depth - 4) // 6
        self.channels = (16, 16 * width, 32 * width, 64 * width)
        self.stem = conv(3, self.channels[0], 3)
        self.stage1 = self._stage(0, num_blocks, norm_kind)
        self.stage2 = self._stage(1, num_blocks, norm_kind)
        self.stage3 = self._stage(2, num_blocks, norm_kind)
        self.final_norm = norm(norm_kind, self.channels[3])
        self.relu = nn.ReLU()

    def _stage(self, level: int, num_blocks: int, norm_kind: Norm) -> nn.SequentialCell:
        in_channels, channels = self.channels[level], self.channels[level + 1]
        blocks = [WideBlock(in_channels, channels, 2, norm_kind)]
        blocks += [WideBlock(channels, channels, 1, norm_kind) for _ in range(num_blocks - 1)]
        return nn.SequentialCell(blocks)

    def construct(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """(N, 3, H, W) -> maps of ``channels`` at strides 1, 2, 4, 8."""
        level0 = self.stem(x)
        level1 = self.stage1(level0)
        level2 = self.stage2(level1)
        level3 = self.stage3(level2)
        return level0, level1, level2, self.relu(self.final_norm(level3))

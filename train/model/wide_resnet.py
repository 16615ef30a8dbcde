"""Wide residual network, the trunk of the shared branch.

Zagoruyko and Komodakis, "Wide Residual Networks", BMVC 2016, in the variant of the MTLN and MTAN
reference code: pre-activation blocks, biased convolutions, stride 2 in all three stages on the
second convolution of the first block, no dropout.

Shapes: N = images, C = channels, H, W = height and width. Maps are (N, C, H, W), or as the backend
orders their axes.
"""

from collections.abc import Sequence

from mindspore import Tensor, nn

from train.model.backend import Backend


class WideBlock(nn.Cell):
    """Norm-ReLU-conv twice, plus the identity or a 1x1 convolution of the input."""

    def __init__(
        self, in_channels: int, channels: int, stride: int, domains: Sequence[str], backend: Backend
    ) -> None:
        super().__init__()
        self.norm1 = backend.norm(in_channels, domains, relu=True)
        self.conv1 = backend.conv(in_channels, channels, 3)
        self.norm2 = backend.norm(channels, domains, relu=True)
        self.conv2 = backend.conv(channels, channels, 3, stride)
        self.project = stride != 1 or in_channels != channels
        if self.project:
            self.shortcut = backend.conv(in_channels, channels, 1, stride)

    def construct(self, x: Tensor, counts: Sequence[int]) -> Tensor:
        """(N, C_in, H, W) -> (N, C, ceil(H / stride), ceil(W / stride))."""
        y = self.conv1(self.norm1(x, counts))
        if self.project:
            x = self.shortcut(x)
        return self.conv2(self.norm2(y, counts), x)


class WideResNet(nn.Cell):
    """WRN-``depth``-``width`` without its classifier: returns four feature maps.

    Args:
        depth: Number of backend, 6 n + 4.
        width: How many times as many channels as the original ResNet has.
        backend: What it is made of.
        domains: Names of what the images come from, for norms that differ by it.

    Attributes:
        channels: Channels of the maps.
        strides: Their strides.

    Raises:
        ValueError: ``depth`` is not 6 n + 4.
    """

    strides = (1, 2, 4, 8)

    def __init__(
        self, depth: int, width: int, backend: Backend | None = None, domains: Sequence[str] = ()
    ) -> None:
        super().__init__()
        if depth < 10 or (depth - 4) % 6:
            raise ValueError(f"depth of a wide ResNet must be 10, 16, 22, 28, ..., not {depth}")
        backend = backend or Backend()
        num_blocks = (depth - 4) // 6
        self.channels = (16, 16 * width, 32 * width, 64 * width)
        self.stem = backend.stem(self.channels[0], 3)
        self.stages = nn.CellList(
            [
                self._stage(level, num_blocks, domains, backend)
                for level in range(1, len(self.channels))
            ]
        )
        self.final_norm = backend.norm(self.channels[-1], domains, relu=True)

    def _stage(
        self, level: int, num_blocks: int, domains: Sequence[str], backend: Backend
    ) -> nn.CellList:
        inputs = [self.channels[level - 1], *[self.channels[level]] * (num_blocks - 1)]
        return nn.CellList(
            [
                WideBlock(in_channels, self.channels[level], 2 if i == 0 else 1, domains, backend)
                for i, in_channels in enumerate(inputs)
            ]
        )

    def construct(self, x: Tensor, counts: Sequence[int]) -> list[Tensor]:
        """(N, 3, H, W), ``counts[d]`` images of every domain -> maps of ``channels``."""
        x = self.stem(x)
        maps = [x]
        for stage in self.stages:
            for block in stage:
                x = block(x, counts)
            maps.append(x)
        maps[-1] = self.final_norm(x, counts)
        return maps

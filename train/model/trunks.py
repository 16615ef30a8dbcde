"""The trunks that a configuration can name: a wide ResNet, and ResNets for larger images.

To add one: write it, add a line to ``_TRUNKS`` here and its name to ``ModelConfig.trunk``.

Shapes: N = images, C = channels, H, W = height and width. Maps are (N, C, H, W), or as the backend
orders their axes.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

from mindspore import Tensor, nn, ops

from train.config.sections import ModelConfig
from train.model.backend import Backend


class Trunk(Protocol):
    """What the network asks of a trunk, which is a Cell.

    Attributes:
        channels: Channels of its maps, finest map first.
        strides: Their strides.
    """

    channels: tuple[int, ...]
    strides: tuple[int, ...]

    def __call__(self, x: Tensor, counts: Sequence[int]) -> tuple[Tensor, ...]:
        """Images as a map (N, 3, H, W), ``counts[d]`` of every data set -> the maps.

        Map l is (N, channels[l], ceil(H / strides[l]), ceil(W / strides[l])), or as the backend
        orders the axes.
        """

    def set_train(self, mode: bool = True) -> nn.Cell:
        """See ``nn.Cell``."""


class WideBlock(nn.Cell):
    """Norm-ReLU-conv twice, plus the identity or a 1x1 convolution of the input."""

    expansion = 1

    def __init__(
        self, in_channels: int, channels: int, stride: int, domains: Sequence[str], backend: Backend
    ) -> None:
        super().__init__()
        self.norm1 = backend.norm(in_channels, domains, relu=True)
        self.conv1 = backend.conv(in_channels, channels, 3)
        self.norm2 = backend.norm(channels, domains, relu=True)
        self.conv1_norm2 = backend.conv_norm(self.conv1, self.norm2)
        self.conv2 = backend.conv(channels, channels, 3, stride)
        self.project = stride != 1 or in_channels != channels
        if self.project:
            self.shortcut = backend.conv(in_channels, channels, 1, stride)

    def construct(self, x: Tensor, counts: Sequence[int]) -> Tensor:
        """(N, C_in, H, W) -> (N, C, ceil(H / stride), ceil(W / stride))."""
        y = self.conv1_norm2(self.norm1(x, counts), counts)
        if self.project:
            x = self.shortcut(x)
        return self.conv2(y, x)


class WideResNet(nn.Cell):
    """WRN-``depth``-``width`` without its classifier: returns four feature maps.

    Zagoruyko and Komodakis, "Wide Residual Networks", BMVC 2016, in the variant of the MTLN and
    MTAN reference code: pre-activation blocks, biased convolutions, stride 2 in all three stages on
    the second convolution of the first block, no dropout.

    Args:
        depth: Number of convolutions, 6 n + 4.
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
        self.channels = (16, 16 * width, 32 * width, 64 * width)
        self.stem = backend.stem(self.channels[0], 3)
        self.stages = nn.CellList(
            [
                _stage(WideBlock, (depth - 4) // 6, inputs, outputs, 2, domains, backend)
                for inputs, outputs in zip(self.channels, self.channels[1:], strict=False)
            ]
        )
        self.final_norm = backend.norm(self.channels[-1], domains, relu=True)

    def construct(self, x: Tensor, counts: Sequence[int]) -> tuple[Tensor, ...]:
        """(N, 3, H, W), ``counts[d]`` images of every domain -> maps of ``channels``."""
        x = self.stem(x)
        maps: tuple[Tensor, ...] = (x,)
        for stage in self.stages:
            for block in stage:
                x = block(x, counts)
            maps = (*maps, x)
        return (*maps[:-1], self.final_norm(x, counts))


class BasicBlock(nn.Cell):
    """Two 3x3 convolutions, each with a norm, plus the shortcut; ReLU after both."""

    expansion = 1

    def __init__(
        self, in_channels: int, width: int, stride: int, domains: Sequence[str], backend: Backend
    ) -> None:
        super().__init__()
        self.conv1 = backend.conv(in_channels, width, 3, stride, bias=False)
        self.bn1 = backend.norm(width, domains, relu=True)
        self.conv2 = backend.conv(width, width, 3, bias=False)
        self.bn2 = backend.norm(width, domains)
        self.first = backend.conv_norm(self.conv1, self.bn1)
        self.second = backend.conv_norm(self.conv2, self.bn2)
        self.project = stride != 1 or in_channels != width
        if self.project:
            self.down_sample = _projection(in_channels, width, stride, domains, backend)

    def construct(self, x: Tensor, counts: Sequence[int]) -> Tensor:
        """(N, C_in, H, W) -> (N, width, ceil(H / stride), ceil(W / stride))."""
        y = self.second(self.first(x, counts), counts)
        if self.project:
            x = self.down_sample[1](self.down_sample[0](x), counts)
        return ops.relu(x + y)


class Bottleneck(nn.Cell):
    """1x1 to ``width`` channels, 3x3, 1x1 to four times as many, each with a norm; the shortcut."""

    expansion = 4

    def __init__(
        self, in_channels: int, width: int, stride: int, domains: Sequence[str], backend: Backend
    ) -> None:
        super().__init__()
        channels = width * self.expansion
        self.conv1 = backend.conv(in_channels, width, 1, bias=False)
        self.bn1 = backend.norm(width, domains, relu=True)
        self.conv2 = backend.conv(width, width, 3, stride, bias=False)
        self.bn2 = backend.norm(width, domains, relu=True)
        self.second = backend.conv_norm(self.conv2, self.bn2)
        self.conv3 = backend.conv(width, channels, 1, bias=False)
        self.bn3 = backend.norm(channels, domains)
        self.project = stride != 1 or in_channels != channels
        if self.project:
            self.down_sample = _projection(in_channels, channels, stride, domains, backend)

    def construct(self, x: Tensor, counts: Sequence[int]) -> Tensor:
        """(N, C_in, H, W) -> (N, 4 width, ceil(H / stride), ceil(W / stride))."""
        y = self.bn1(self.conv1(x), counts)
        y = self.second(y, counts)
        y = self.bn3(self.conv3(y), counts)
        if self.project:
            x = self.down_sample[1](self.down_sample[0](x), counts)
        return ops.relu(x + y)


Block = type[BasicBlock] | type[Bottleneck]


class ResNet(nn.Cell):
    """A ResNet without its classifier: returns the feature maps of its four stages.

    He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition", CVPR 2016. As in MindCV
    and torchvision, bottlenecks have their stride on the 3x3 convolution. Names of the parameters
    and, by default, the edge of the max-pool are MindCV's (mindcv/models/resnet.py), so that its
    ImageNet weights fit.

    Args:
        block: What it is made of.
        num_blocks: Blocks of the four stages: (2, 2, 2, 2) basic ones for ResNet-18, (3, 4, 6, 3)
            basic ones for ResNet-34, (3, 4, 6, 3) bottlenecks for ResNet-50.
        backend: What it is made of.
        domains: Names of what the images come from, for norms that differ by it.
        symmetric: Whether the max-pool pads maps of even size on all sides, as PyTorch's does.

    Attributes:
        channels: Channels of the maps.
        strides: Their strides.
        symmetric: See above.
    """

    strides = (4, 8, 16, 32)

    def __init__(
        self,
        block: Block,
        num_blocks: Sequence[int],
        backend: Backend | None = None,
        domains: Sequence[str] = (),
        symmetric: bool = False,
    ) -> None:
        super().__init__()
        backend = backend or Backend()
        self.symmetric = symmetric
        widths = (64, 128, 256, 512)
        self.channels = tuple(width * block.expansion for width in widths)
        self.conv1 = backend.stem(widths[0], 7, stride=2, bias=False)
        self.bn1 = backend.norm(widths[0], domains, relu=True)
        # At even sizes MindCV pads below and right, and PyTorch's padding=1 above and left; at odd
        # ones both pad on all sides. All else is the same in both.
        self.max_pool = backend.max_pool(3, 2, symmetric)
        inputs = (widths[0], *self.channels[:-1])
        stages = [
            _stage(block, depth, in_channels, width, stride, domains, backend)
            for depth, in_channels, width, stride in zip(
                num_blocks, inputs, widths, (1, 2, 2, 2), strict=True
            )
        ]
        self.layer1, self.layer2, self.layer3, self.layer4 = stages

    def construct(self, x: Tensor, counts: Sequence[int]) -> tuple[Tensor, ...]:
        """(N, 3, H, W), ``counts[d]`` images of every domain -> maps of ``channels``."""
        x = self.max_pool(self.bn1(self.conv1(x), counts))
        maps: tuple[Tensor, ...] = ()
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            for block in stage:
                x = block(x, counts)
            maps = (*maps, x)
        return maps


def _stage(
    block: type[WideBlock] | Block,
    depth: int,
    in_channels: int,
    width: int,
    stride: int,
    domains: Sequence[str],
    backend: Backend,
) -> nn.CellList:
    """Return ``depth`` blocks, of which the first one has the stride."""
    first = block(in_channels, width, stride, domains, backend)
    channels = width * block.expansion
    others = [block(channels, width, 1, domains, backend) for _ in range(depth - 1)]
    return nn.CellList([first, *others])


def _projection(
    in_channels: int, channels: int, stride: int, domains: Sequence[str], backend: Backend
) -> nn.CellList:
    """Return the shortcut where the map's shape changes: a 1x1 convolution and a norm."""
    return nn.CellList(
        [
            backend.conv(in_channels, channels, 1, stride, bias=False),
            backend.norm(channels, domains),
        ]
    )


def _resnet(
    block: Block,
    num_blocks: Sequence[int],
    model: ModelConfig,
    backend: Backend,
    domains: Sequence[str],
) -> ResNet:
    return ResNet(block, num_blocks, backend, domains, model.max_pool == "symmetric")


_TRUNKS: dict[str, Callable[[ModelConfig, Backend, Sequence[str]], Trunk]] = {
    "wide_resnet": lambda m, backend, domains: WideResNet(m.depth, m.width, backend, domains),
    "resnet18": lambda *options: _resnet(BasicBlock, (2, 2, 2, 2), *options),
    "resnet34": lambda *options: _resnet(BasicBlock, (3, 4, 6, 3), *options),
    "resnet50": lambda *options: _resnet(Bottleneck, (3, 4, 6, 3), *options),
}


def build_trunk(model: ModelConfig, backend: Backend, domains: Sequence[str]) -> Trunk:
    """Return the trunk of a configuration, for images of these data sets."""
    return _TRUNKS[model.trunk](model, backend, domains)

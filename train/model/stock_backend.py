"""The layers that every part of the network is made of.

Shapes: N = images, C = channels, H, W = height and width of a feature map. The stock layers work
on maps (N, C, H, W).
"""

from collections.abc import Sequence
from typing import Literal

import mindspore as ms
from mindspore import Parameter, Tensor, nn, ops
from mindspore.common.initializer import HeNormal, Normal

from train.config.precision import Precision
from train.model.attention import AttentionLevel, AttentionModule
from train.model.heads import ClassificationHead, SceneHeads
from train.model.norms import BatchNorm, DomainNorm, GroupNorm
from train.optim.flat import Flatten, Subtract, Update
from train.optim.optimizers import FlatOptimizer
from train.tasks.losses import CrossEntropies

Norm = Literal["batch", "group", "domain"]


class Layers:
    """Makes layers out of MindSpore's own operators, for any device.

    Another kind of layers (:class:`train.model.native_backend.NativeLayers`) may order the axes of
    maps otherwise, but has the same parameters: same names, shapes and initial values.

    Args:
        norm_kind: ``batch``; ``group``, where every image counts for itself; or ``domain``.
        precision: What convolutions and linear layers compute in. All else is float32, also what
            they are given and return, and the parameters.

    Attributes:
        channel_axis: Axis of the channels in a map.
        height_axis: Axis of the height; the width's follows.
    """

    channel_axis = 1
    height_axis = 2

    def __init__(self, norm_kind: Norm = "batch", precision: Precision = "float32") -> None:
        self.norm_kind = norm_kind
        self.precision = precision

    def conv(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        bias: bool = True,
    ) -> nn.Cell:
        """A convolution with Kaiming initialisation that maps H to ceil(H / stride).

        Called with a second map, it adds that to its result.
        """
        return Conv(in_channels, out_channels, kernel_size, stride, bias, self.precision)

    def stem(
        self, out_channels: int, kernel_size: int, stride: int = 1, bias: bool = True
    ) -> nn.Cell:
        """The convolution of the images, whose gradient nobody needs."""
        return Conv(3, out_channels, kernel_size, stride, bias, self.precision)

    def linear(self, in_channels: int, out_channels: int) -> nn.Cell:
        """A linear layer with small initial weights: (N, C_in) -> (N, C_out)."""
        return Linear(in_channels, out_channels, self.precision)

    def norm(self, channels: int, domains: Sequence[str] = (), relu: bool = False) -> nn.Cell:
        """A norm: ``norm(x, counts)`` normalises a map of ``counts[d]`` images each.

        Args:
            channels: C.
            domains: Names of what the images come from, in their order in the map. With less than
                two, ``domain`` is the same as ``batch``.
            relu: Whether a ReLU follows.
        """
        if self.norm_kind == "domain" and len(domains) > 1:
            return DomainNorm(channels, domains, relu)
        return GroupNorm(channels, relu) if self.norm_kind == "group" else BatchNorm(channels, relu)

    def max_pool(self, kernel_size: int, stride: int) -> nn.Cell:
        """A max-pool that maps H to ceil(H / stride)."""
        # "same" rounds odd sizes up, as the strided convolutions do.
        return nn.MaxPool2d(kernel_size, stride, pad_mode="same")

    def resize(self) -> nn.Cell:
        """Bilinear interpolation: ``resize(x, (height, width))``."""
        return Resize()

    def attention_level(self, modules: Sequence[AttentionModule]) -> nn.Cell:
        """The attention of all tasks on one level; see :class:`AttentionLevel`."""
        return AttentionLevel(modules, self.gate(), self.channel_axis)

    def gate(self) -> nn.Cell:
        """A soft mask: (logits, map) -> sigmoid(logits) * map."""
        return Gate()

    def scene_heads(self, heads: Sequence[ClassificationHead], tasks: Sequence[int]) -> nn.Cell:
        """The heads of all scene tasks; see :class:`SceneHeads`."""
        return SceneHeads(heads, tasks)

    def cross_entropies(self, smoothing: float) -> nn.Cell:
        """The losses of all scene tasks; see :class:`train.tasks.losses.CrossEntropies`."""
        return CrossEntropies(smoothing)

    def from_images(self) -> nn.Cell:
        """Images (N, H, W, 3) -> map."""
        return Transpose((0, 3, 1, 2))

    def channels_first(self) -> nn.Cell:
        """Map -> (N, C, H, W)."""
        return nn.Identity()

    def flatten(self) -> nn.Cell:
        """Makes one vector of many tensors; see :class:`train.optim.flat.Flatten`."""
        return Flatten()

    def update(self, optimizer: FlatOptimizer, parameters: Sequence[Parameter]) -> nn.Cell:
        """What updates parameters; see :class:`train.optim.flat.Update`."""
        return Update(optimizer, parameters, self.flatten(), Subtract(parameters))


class Conv(nn.Conv2d):
    """A convolution; see :meth:`Layers.conv`."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int,
        bias: bool,
        precision: Precision = "float32",
    ) -> None:
        super().__init__(
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
        self.half = None if precision == "float32" else getattr(ms, precision)

    def construct(self, x: Tensor, *residual: Tensor) -> Tensor:
        """(N, C_in, H, W)[, what is added] -> (N, C_out, ceil(H / stride), ceil(W / stride))."""
        y = super().construct(x) if self.half is None else self._in_half(x)
        return y + residual[0] if residual else y

    def _in_half(self, x: Tensor) -> Tensor:
        y = self.conv2d(x.astype(self.half), self.weight.astype(self.half)).astype(ms.float32)
        return self.bias_add(y, self.bias) if self.has_bias else y


class Linear(nn.Dense):
    """A linear layer; see :meth:`Layers.linear`."""

    def __init__(self, in_channels: int, out_channels: int, precision: Precision) -> None:
        super().__init__(in_channels, out_channels, weight_init=Normal(0.01), bias_init="zeros")
        self.half = None if precision == "float32" else getattr(ms, precision)

    def construct(self, x: Tensor) -> Tensor:
        """(N, C_in) -> (N, C_out)."""
        if self.half is None:
            return super().construct(x)
        y = self.matmul(x.astype(self.half), self.weight.astype(self.half)).astype(ms.float32)
        return self.bias_add(y, self.bias)


class Gate(nn.Cell):
    """See :meth:`Layers.gate`."""

    def construct(self, logits: Tensor, x: Tensor) -> Tensor:
        """(N, C, H, W) twice -> the same."""
        return ops.sigmoid(logits) * x


class Resize(nn.Cell):
    """See :meth:`Layers.resize`."""

    def __init__(self) -> None:
        super().__init__()
        self.interpolate = ops.ResizeBilinearV2(half_pixel_centers=True)

    def construct(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        """(N, C, H, W) -> (N, C, *size)."""
        if x.shape[2:] == size:
            return x
        return self.interpolate(x, size)


class Transpose(nn.Cell):
    """Puts axes in another order."""

    def __init__(self, order: tuple[int, ...]) -> None:
        super().__init__()
        self.order = order

    def construct(self, x: Tensor) -> Tensor:
        """The tensor with its axes in ``order``."""
        return x.transpose(self.order)

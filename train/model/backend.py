"""The backends: each makes the layers that every part of the network consists of.

Shapes: N = images, C = channels, H, W = height and width of a feature map.
"""

from collections.abc import Sequence
from types import ModuleType
from typing import ClassVar, Literal

import mindspore as ms
from mindspore import Parameter, nn

from train.config.sections import Precision
from train.model import aclnn_layers, layers, native_layers
from train.model.layers import ByTask
from train.native import update as native_update
from train.optim.optimizers import SGD, FlatOptimizer
from train.optim.update import Flatten, Restore, Subtract, Update

Norm = Literal["batch", "group", "domain"]


class Backend:
    """The stock backend: makes layers of MindSpore's own operators, for any device.

    Another backend (:class:`NativeBackend`) may order the axes of maps differently, but its layers
    have the same parameters: same names, shapes and initial values.

    Args:
        norm_kind: ``batch``; ``group``, where every image counts for itself; or ``domain``.
        precision: Type of the maps, and what convolutions compute in. All else is float32: the
            parameters, the sums in norms, and the heads from pooling or classifying on.

    Attributes:
        layers: The module with the layers that both backends have under one name.
        channel_axis: Axis of the channels in a map.
        height_axis: Axis of the height; the width's follows.
    """

    layers: ClassVar[ModuleType] = layers
    channel_axis = 1
    height_axis = 2

    def __init__(self, norm_kind: Norm = "batch", precision: Precision = "float32") -> None:
        self.norm_kind = norm_kind
        self.half = None if precision == "float32" else getattr(ms, precision)

    def conv(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        bias: bool = True,
    ) -> nn.Cell:
        """Return a convolution with Kaiming initialisation that maps H to ceil(H / stride).

        Called with a second map, it adds that to its result.
        """
        return self.layers.Conv(in_channels, out_channels, kernel_size, stride, bias, self.half)

    def stem(
        self, out_channels: int, kernel_size: int, stride: int = 1, bias: bool = True
    ) -> nn.Cell:
        """Return the first convolution, whose input needs no gradient."""
        return self.conv(3, out_channels, kernel_size, stride, bias)

    def linear(self, in_channels: int, out_channels: int) -> nn.Cell:
        """Return a linear layer with small initial weights: (N, C_in) -> (N, C_out)."""
        return layers.Linear(in_channels, out_channels)

    def norm(self, channels: int, domains: Sequence[str] = (), relu: bool = False) -> nn.Cell:
        """Return a norm: ``norm(x, counts)`` normalises a map of ``counts[d]`` images each.

        Args:
            channels: C.
            domains: Names of what the images come from, in their order in the map. With less than
                two, ``domain`` is the same as ``batch``.
            relu: Whether a ReLU follows.
        """
        if self.norm_kind == "domain" and len(domains) > 1:
            return self.layers.DomainNorm(channels, domains, relu)
        if self.norm_kind == "group":
            return self.layers.GroupNorm(channels, relu)
        return self.layers.BatchNorm(channels, relu)

    def conv_norm(self, conv: nn.Cell, norm: nn.Cell) -> nn.Cell:
        """Return the cell of a convolution and the norm right after it, both made by this backend.

        They stay the children of the caller, which calls this instead: ``conv_norm(x, counts)``.
        """
        return layers.ConvNorm(conv, norm)

    def max_pool(self, kernel_size: int, stride: int, symmetric: bool = False) -> nn.Cell:
        """Return a max-pool that maps H to ceil(H / stride), of a map without negative values.

        Args:
            kernel_size: k.
            stride: Its stride.
            symmetric: Whether there is as much padding above and left as below and right, k // 2
                for an odd k; otherwise as little as need be, and rather below and right.
        """
        if symmetric:
            return layers.SymmetricMaxPool(kernel_size, stride)
        # "same" rounds odd sizes up, as the strided convolutions do.
        return nn.MaxPool2d(kernel_size, stride, pad_mode="same")

    def resize(self) -> nn.Cell:
        """Return the cell of bilinear interpolation: ``resize(x, (height, width))``."""
        return self.layers.Resize()

    def attention_level(self, modules: Sequence[nn.Cell], by_task: ByTask) -> nn.Cell:
        """Return the attention of all tasks on a level; see :class:`layers.AttentionLevel`."""
        return layers.AttentionLevel(modules, by_task, self.layers.Gate(), self.channel_axis)

    def linear_heads(self, heads: Sequence[nn.Cell], tasks: Sequence[int]) -> nn.Cell:
        """Return the heads of many tasks as one; see :class:`train.model.layers.LinearHeads`."""
        return self.layers.LinearHeads(heads, tasks)

    def cross_entropies(self, smoothing: float) -> nn.Cell:
        """Return the losses of many tasks; see :class:`train.model.layers.CrossEntropies`."""
        return self.layers.CrossEntropies(smoothing)

    def from_images(self) -> nn.Cell:
        """Return the cell that makes a map of images: (N, H, W, 3) -> map."""
        return layers.Transpose((0, 3, 1, 2), self.half)

    def channels_first(self) -> nn.Cell:
        """Return the cell that puts the channels of a map first: map -> (N, C, H, W)."""
        return nn.Identity()

    def flatten(self) -> nn.Cell:
        """Return the cell that makes one vector of many tensors; see :class:`Flatten`."""
        return Flatten()

    def restore(self, parameters: Sequence[Parameter]) -> nn.Cell:
        """Return the cell that undoes a change; see :class:`train.optim.update.Restore`."""
        return Restore(parameters)

    def update(
        self, optimizer: FlatOptimizer, parameters: Sequence[Parameter], frozen: bool = False
    ) -> nn.Cell:
        """Return the cell that updates parameters; see :class:`train.optim.update.Update`."""
        return Update(optimizer, parameters, self.flatten(), Subtract(parameters), frozen)


class AclnnBackend(Backend):
    """The backend for Ascend NPUs that launch a graph kernel by kernel, with fewer kernels."""

    layers: ClassVar[ModuleType] = aclnn_layers

    def max_pool(self, kernel_size: int, stride: int, symmetric: bool = False) -> nn.Cell:
        """See the base class."""
        if kernel_size != stride:
            return super().max_pool(kernel_size, stride, symmetric)
        return aclnn_layers.MaxPool(stride)


class NativeBackend(Backend):
    """The backend of native operators, for CPUs; maps are (N, H, W, C), all is float32."""

    layers: ClassVar[ModuleType] = native_layers
    channel_axis = 3
    height_axis = 1

    def stem(
        self, out_channels: int, kernel_size: int, stride: int = 1, bias: bool = True
    ) -> nn.Cell:
        """See the base class."""
        return native_layers.Conv(3, out_channels, kernel_size, stride, bias, is_first=True)

    def conv_norm(self, conv: nn.Cell, norm: nn.Cell) -> nn.Cell:
        """See the base class."""
        if native_layers.ConvNorm.can_be_of(conv, norm):
            return native_layers.ConvNorm(conv, norm)
        return super().conv_norm(conv, norm)

    def max_pool(self, kernel_size: int, stride: int, symmetric: bool = False) -> nn.Cell:
        """See the base class."""
        return native_layers.MaxPool(kernel_size, stride, symmetric)

    def attention_level(self, modules: Sequence[nn.Cell], by_task: ByTask) -> nn.Cell:
        """See the base class."""
        if self.norm_kind == "group":
            return super().attention_level(modules, by_task)
        return native_layers.AttentionLevel(modules, by_task)

    def from_images(self) -> nn.Cell:
        """See the base class."""
        return nn.Identity()

    def channels_first(self) -> nn.Cell:
        """See the base class."""
        return layers.Transpose((0, 3, 1, 2))

    def flatten(self) -> nn.Cell:
        """See the base class."""
        return native_update.Flatten()

    def restore(self, parameters: Sequence[Parameter]) -> nn.Cell:
        """See the base class."""
        return native_update.Restore(parameters)

    def update(
        self, optimizer: FlatOptimizer, parameters: Sequence[Parameter], frozen: bool = False
    ) -> nn.Cell:
        """See the base class."""
        # The operator knows one rate, for all.
        if isinstance(optimizer, SGD) and optimizer.trunk.rate == 1.0 and not frozen:
            decay, momentum = optimizer.decay, optimizer.momentum
            mu, nesterov = optimizer.mu, optimizer.nesterov
            return native_update.SGDUpdate(parameters, decay, momentum, mu, nesterov)
        subtract = native_update.Subtract(parameters)
        return Update(optimizer, parameters, self.flatten(), subtract, frozen)

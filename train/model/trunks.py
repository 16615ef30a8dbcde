"""The trunks that a configuration can name.

To add one: write it, add a line to ``_TRUNKS`` here and its name to ``ModelConfig.trunk``.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

from mindspore import Tensor

from train.config.sections import ModelConfig
from train.model.backend import Backend
from train.model.resnet import BasicBlock, Bottleneck, ResNet
from train.model.wide_resnet import WideResNet


class Trunk(Protocol):
    """What the network asks of a trunk, which is a Cell.

    Attributes:
        channels: Channels of its maps, finest map first.
        strides: Their strides.
    """

    channels: tuple[int, ...]
    strides: tuple[int, ...]

    def __call__(self, x: Tensor, counts: Sequence[int]) -> list[Tensor]:
        """Images as a map (N, 3, H, W), ``counts[d]`` of every data set -> the maps.

        Map l is (N, channels[l], ceil(H / strides[l]), ceil(W / strides[l])), or as the backend
        orders the axes.
        """


_TRUNKS: dict[str, Callable[[ModelConfig, Backend, Sequence[str]], Trunk]] = {
    "wide_resnet": lambda m, backend, domains: WideResNet(m.depth, m.width, backend, domains),
    "resnet18": lambda _, backend, domains: ResNet(BasicBlock, (2, 2, 2, 2), backend, domains),
    "resnet34": lambda _, backend, domains: ResNet(BasicBlock, (3, 4, 6, 3), backend, domains),
    "resnet50": lambda _, backend, domains: ResNet(Bottleneck, (3, 4, 6, 3), backend, domains),
}


def build_trunk(model: ModelConfig, backend: Backend, domains: Sequence[str]) -> Trunk:
    """The trunk of a configuration, for images of these data sets."""
    return _TRUNKS[model.trunk](model, backend, domains)

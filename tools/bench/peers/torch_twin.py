"""The same network in PyTorch: wide ResNet, attention branches, shared extractors, linear heads.

Its parts have the names of ours (``train/model/``), so that our parameters fit by name. Shapes:
N = images, C = channels, H, W = height and width. Tensors are (N, C, H, W).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

# Our name of a batch norm's parameter: PyTorch's.
_NORMS = {
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}


def _conv(c_in: int, c_out: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2)


class WideBlock(nn.Module):
    """Norm-ReLU-conv twice, plus the identity or a 1x1 convolution of the input."""

    def __init__(self, c_in: int, channels: int, stride: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(c_in)
        self.conv1 = _conv(c_in, channels, 3)
        self.norm2 = nn.BatchNorm2d(channels)
        self.conv2 = _conv(channels, channels, 3, stride)
        self.project = stride != 1 or c_in != channels
        if self.project:
            self.shortcut = _conv(c_in, channels, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C_in, H, W) -> (N, C, H / stride, W / stride)."""
        y = self.conv1(torch.relu(self.norm1(x)))
        y = self.conv2(torch.relu(self.norm2(y)))
        return y + (self.shortcut(x) if self.project else x)


class WideResNet(nn.Module):
    """WRN-``depth``-``width`` without its classifier, its maps of all four levels."""

    def __init__(self, depth: int, width: int) -> None:
        super().__init__()
        self.channels = (16, 16 * width, 32 * width, 64 * width)
        self.stem = _conv(3, 16, 3)
        self.stages = nn.ModuleList()
        for c_in, channels in zip(self.channels[:-1], self.channels[1:], strict=True):
            blocks = [WideBlock(c_in, channels, 2)]
            blocks += [WideBlock(channels, channels, 1) for _ in range((depth - 4) // 6 - 1)]
            self.stages.append(nn.Sequential(*blocks))
        self.final_norm = nn.BatchNorm2d(self.channels[-1])

    def forward(self, x: Tensor) -> list[Tensor]:
        """(N, 3, H, W) -> four maps."""
        maps = [self.stem(x)]
        for stage in self.stages:
            maps.append(stage(maps[-1]))
        maps[-1] = torch.relu(self.final_norm(maps[-1]))
        return maps


class AttentionModule(nn.Module):
    """A soft mask over a map."""

    def __init__(self, c_in: int, channels: int) -> None:
        super().__init__()
        self.conv1 = _conv(c_in, channels, 1)
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv2 = _conv(channels, channels, 1)
        self.norm2 = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C_in, H, W) -> (N, C, H, W) in (0, 1)."""
        x = torch.relu(self.norm1(self.conv1(x)))
        return torch.sigmoid(self.norm2(self.conv2(x)))


class FeatureExtractor(nn.Module):
    """Conv-norm-ReLU and, but on the last level, a 2x2 max-pool."""

    def __init__(self, c_in: int, channels: int, pools: bool) -> None:
        super().__init__()
        self.conv = _conv(c_in, channels, 3)
        self.norm = nn.BatchNorm2d(channels)
        # Odd sizes are rounded up, as by the trunk's strided convolutions.
        self.pool = nn.MaxPool2d(2, ceil_mode=True) if pools else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(N, C_in, H, W) -> (N, C, H / 2, W / 2)."""
        y: Tensor = self.pool(torch.relu(self.norm(self.conv(x))))
        return y


class SharedBranch(nn.Module):
    """The trunk, and the extractors that follow the masks of all tasks."""

    def __init__(self, depth: int, width: int) -> None:
        super().__init__()
        self.trunk = WideResNet(depth, width)
        channels = self.trunk.channels
        outputs = [*channels[1:], channels[-1]]
        self.extractors = nn.ModuleList(
            FeatureExtractor(c_in, c_out, level < len(channels) - 1)
            for level, (c_in, c_out) in enumerate(zip(channels, outputs, strict=True))
        )


class Head(nn.Module):
    """Global average pooling and a linear layer."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.linear = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> logits (N, classes)."""
        logits: Tensor = self.linear(x.mean((2, 3)))
        return logits


class TaskBranch(nn.Module):
    """The attention modules of one task, and its head."""

    def __init__(self, channels: Sequence[int], classes: int) -> None:
        super().__init__()
        inputs = [channels[0], *(2 * c for c in channels[1:])]
        self.attention = nn.ModuleList(map(AttentionModule, inputs, channels))
        self.head = Head(channels[-1], classes)


class TorchMTLN(nn.Module):
    """The network on a mixed batch: all images pass the shared branch together.

    Args:
        depth: Of the wide ResNet.
        width: Of the wide ResNet.
        classes: Classes of every task.
    """

    def __init__(self, depth: int, width: int, classes: Sequence[int]) -> None:
        super().__init__()
        self.shared = SharedBranch(depth, width)
        channels = self.shared.trunk.channels
        self.tasks = nn.ModuleDict(
            {f"set{i}": TaskBranch(channels, n) for i, n in enumerate(classes)}
        )

    def forward(self, images: Tensor, counts: list[int]) -> list[Tensor]:
        """Normalised images (N, 3, H, W), ``counts[k]`` of task k -> logits per task."""
        levels = [x.split(counts) for x in self.shared.trunk(images)]
        branches = list(self.tasks.values())
        extracted: Sequence[Tensor] = []
        for level, extractor in enumerate(self.shared.extractors):
            attended = []
            for task, branch in enumerate(branches):
                own = levels[level][task]
                seen = torch.cat((own, extracted[task]), 1) if level else own
                attended.append(branch.attention[level](seen) * own)
            extracted = extractor(torch.cat(attended)).split(counts)
        return [b.head(x) for b, x in zip(branches, extracted, strict=True)]


def load_ours(network: TorchMTLN, parameters: Mapping[str, Any]) -> None:
    """Takes over our parameters and statistics; an error names what does not fit."""
    state = {}
    for name, values in parameters.items():
        stem, _, last = name.rpartition(".")
        state[f"{stem}.{_NORMS.get(last, last)}"] = torch.from_numpy(values)
    missing, unexpected = network.load_state_dict(state, strict=False)
    # PyTorch counts the batches of every norm; we do not.
    lost = [name for name in missing if not name.endswith("num_batches_tracked")]
    if lost or unexpected:
        raise ValueError(f"parameters do not fit: {lost} missing, {unexpected} unknown")

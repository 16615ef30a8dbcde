"""A trained multitask network (MTLN) as plain PyTorch: this file, model.json, model.safetensors.

    import mtln_torch

    network = mtln_torch.load("the folder of this file")
    answers = network.probabilities(pixels)  # uint8 (N, H, W, 3), red, green, blue

``answers`` holds a tensor for every task by name: (N, K), or (N, K, H, W) of a segmentation task.
``network(pixels)`` returns logits. It is an ordinary module, which can be trained further. All of
torch, safetensors and this file are needed, and nothing else.

Zheng, Gong, Li and Lu, "Generalized Scene Classification From Small-Scale Datasets With Multitask
Learning", IEEE TGRS 60, 2022.

Shapes: N = images, C = channels, H, W = height and width, K = classes. Maps are (N, C, H, W).
"""

import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

_MAX_GROUPS = 8
# Blocks of the four stages, and whether they are bottlenecks.
_RESNETS = {
    "resnet18": ((2, 2, 2, 2), False),
    "resnet34": ((3, 4, 6, 3), False),
    "resnet50": ((3, 4, 6, 3), True),
}


def load(folder: str | Path, device: str | torch.device = "cpu") -> "Network":
    """Return the network of a folder, in evaluation mode."""
    about = json.loads((Path(folder) / "model.json").read_text(encoding="utf-8"))
    network = Network(about)
    network.load_state_dict(load_file(Path(folder) / "model.safetensors"))
    network.to(device).eval()
    return network


class Network(nn.Module):
    """All tasks on the same pictures, each of which sees them as those of its own data set.

    Args:
        about: The content of model.json.
    """

    def __init__(self, about: dict[str, Any]) -> None:
        super().__init__()
        model, self.about = about["network"], about
        names, tasks = list(about["datasets"]), about["tasks"]
        trunk = (
            WideResNet(model, names) if model["trunk"] == "wide_resnet" else ResNet(model, names)
        )
        self.shared = Named({"trunk": trunk})
        self.attends = model["branch"] == "attention"
        strides = [*trunk.strides, trunk.strides[-1]]
        self.steps = [b // a for a, b in pairwise(strides)]
        if self.attends:
            widths = [*trunk.channels, trunk.channels[-1]]
            parts = [
                ConvNorm(c_in, c_out, 3, norm(model, c_out, list(tasks)))
                for c_in, c_out in pairwise(widths)
            ]
            self.shared.extractors = nn.ModuleList(parts)
        self.tasks = Named(
            {name: TaskBranch(model, task, trunk.channels) for name, task in tasks.items()}
        )

    def forward(self, pixels: Tensor) -> dict[str, Tensor]:
        """uint8 (N, H, W, 3) -> the logits of every task, (N, K) or (N, K, H, W)."""
        maps = {name: self.shared["trunk"](x, name) for name, x in self._seen(pixels)}
        answers = {}
        for name, task in self.about["tasks"].items():
            branch, levels = self.tasks[name], maps[task["dataset"]]
            if self.attends:
                levels = self._distil(branch, name, levels)
            answers[name] = branch.head(levels, pixels.shape[1:3])
        return answers

    def probabilities(self, pixels: Tensor) -> dict[str, Tensor]:
        """uint8 (N, H, W, 3) -> the probabilities of every task, (N, K) or (N, K, H, W)."""
        with torch.no_grad():
            return {name: logits.softmax(1) for name, logits in self(pixels).items()}

    def _seen(self, pixels: Tensor) -> list[tuple[str, Tensor]]:
        """Return the pictures as those of every data set: normalised with its statistics."""
        x = pixels.permute(0, 3, 1, 2).float() / 255
        found = []
        for name, dataset in self.about["datasets"].items():
            mean, std = (
                torch.tensor(dataset[key], device=x.device)[:, None, None]
                for key in ("mean", "std")
            )
            found.append((name, (x - mean) / std))
        return found

    def _distil(self, branch: "TaskBranch", task: str, levels: list[Tensor]) -> list[Tensor]:
        """Mask the shared maps, level by level, and extract what the next level's mask sees."""
        distilled, extracted = [], levels[0][:, :0]
        for level, shared in enumerate(levels):
            seen = shared if level == 0 else torch.cat([shared, extracted], 1)
            distilled.append(branch.attention[level](seen).sigmoid() * shared)
            extracted = self.shared.extractors[level](distilled[-1], task).relu()
            extracted = max_pool(extracted, self.steps[level], self.steps[level])
        return [*distilled[:-1], extracted]


class Named(nn.Module):
    """Modules by names that may be anything, as those of tasks and data sets are."""

    def __init__(self, modules: dict[str, nn.Module]) -> None:
        super().__init__()
        for name, module in modules.items():
            setattr(self, name, module)

    def __getitem__(self, name: str) -> Any:
        """Return a module."""
        return dict(self.named_children())[name]


class DomainNorm(nn.Module):
    """A batch norm for every data set, or for every task."""

    def __init__(self, channels: int, domains: Sequence[str]) -> None:
        super().__init__()
        self.of = Named({name: nn.BatchNorm2d(channels) for name in domains})

    def forward(self, x: Tensor, domain: str) -> Tensor:
        """(N, C, H, W) -> the same."""
        normed: Tensor = self.of[domain](x)
        return normed


def norm(model: dict[str, Any], channels: int, domains: Sequence[str] = ()) -> nn.Module:
    """Return a norm of the kind that the network has."""
    if model["norm"] == "group":
        groups = max(g for g in range(1, _MAX_GROUPS + 1) if channels % g == 0)
        return nn.GroupNorm(groups, channels)
    if model["norm"] == "domain" and len(domains) > 1:
        return DomainNorm(channels, domains)
    return nn.BatchNorm2d(channels)


def normed(layer: nn.Module, x: Tensor, domain: str) -> Tensor:
    """Apply a norm to what comes from a data set, or belongs to a task."""
    y: Tensor = layer(x, domain) if isinstance(layer, DomainNorm) else layer(x)
    return y


def conv(c_in: int, c_out: int, size: int, stride: int = 1, bias: bool = True) -> nn.Conv2d:
    """Return a convolution that maps H to ceil(H / stride)."""
    return nn.Conv2d(c_in, c_out, size, stride, size // 2, bias=bias)


def max_pool(x: Tensor, size: int, stride: int, symmetric: bool = False) -> Tensor:
    """Map H to ceil(H / stride); the edge is as small as can be and below and right, or symmetric.

    Maps come from a ReLU, so zeros may stand around them.
    """
    if symmetric:
        return F.max_pool2d(x, size, stride, size // 2)
    pads: list[int] = []
    for length in (x.shape[3], x.shape[2]):
        total = max((-(-length // stride) - 1) * stride + size - length, 0)
        pads += [total // 2, total - total // 2]
    return F.max_pool2d(F.pad(x, pads), size, stride)


class ConvNorm(nn.Module):
    """A convolution and a norm."""

    def __init__(self, c_in: int, c_out: int, size: int, norm_layer: nn.Module) -> None:
        super().__init__()
        self.conv = conv(c_in, c_out, size)
        self.norm = norm_layer

    def forward(self, x: Tensor, domain: str = "") -> Tensor:
        """(N, C_in, H, W) -> (N, C_out, H, W)."""
        return normed(self.norm, self.conv(x), domain)


class WideBlock(nn.Module):
    """Norm-ReLU-conv twice, plus the identity or a 1x1 convolution of the input."""

    def __init__(
        self, model: dict[str, Any], c_in: int, channels: int, stride: int, domains: Sequence[str]
    ) -> None:
        super().__init__()
        self.norm1 = norm(model, c_in, domains)
        self.conv1 = conv(c_in, channels, 3)
        self.norm2 = norm(model, channels, domains)
        self.conv2 = conv(channels, channels, 3, stride)
        self.project = stride != 1 or c_in != channels
        if self.project:
            self.shortcut = conv(c_in, channels, 1, stride)

    def forward(self, x: Tensor, domain: str) -> Tensor:
        """(N, C_in, H, W) -> (N, C, ceil(H / stride), ceil(W / stride))."""
        y = self.conv1(normed(self.norm1, x, domain).relu())
        y = self.conv2(normed(self.norm2, y, domain).relu())
        return y + (self.shortcut(x) if self.project else x)


class WideResNet(nn.Module):
    """A wide ResNet (Zagoruyko and Komodakis, BMVC 2016) of pre-activation blocks, four levels."""

    strides = (1, 2, 4, 8)

    def __init__(self, model: dict[str, Any], domains: Sequence[str]) -> None:
        super().__init__()
        width, depth = model["width"], (model["depth"] - 4) // 6
        self.channels = (16, 16 * width, 32 * width, 64 * width)
        self.stem = conv(3, 16, 3)
        self.stages = nn.ModuleList()
        for c_in, c_out in pairwise(self.channels):
            blocks = [WideBlock(model, c_in, c_out, 2, domains)]
            blocks += [WideBlock(model, c_out, c_out, 1, domains) for _ in range(depth - 1)]
            self.stages.append(nn.ModuleList(blocks))
        self.final_norm = norm(model, self.channels[-1], domains)

    def forward(self, x: Tensor, domain: str) -> list[Tensor]:
        """(N, 3, H, W) -> a map of every level, finest first."""
        x = self.stem(x)
        maps = [x]
        for stage in self.stages:
            for block in stage:
                x = block(x, domain)
            maps.append(x)
        return [*maps[:-1], normed(self.final_norm, x, domain).relu()]


class Block(nn.Module):
    """Two 3x3 convolutions, or a bottleneck, plus the shortcut; torchvision's names."""

    def __init__(
        self,
        model: dict[str, Any],
        c_in: int,
        width: int,
        stride: int,
        bottleneck: bool,
        domains: Sequence[str],
    ) -> None:
        super().__init__()
        channels, sizes = (4 * width, (1, 3, 1)) if bottleneck else (width, (3, 3))
        widths = [c_in, *[width] * (len(sizes) - 1), channels]
        self.count, strided = len(sizes), len(sizes) - 2
        for i, size in enumerate(sizes):
            step = stride if i == strided else 1
            setattr(self, f"conv{i + 1}", conv(widths[i], widths[i + 1], size, step, bias=False))
            setattr(self, f"bn{i + 1}", norm(model, widths[i + 1], domains))
        self.project = stride != 1 or c_in != channels
        if self.project:
            shortcut = conv(c_in, channels, 1, stride, bias=False)
            self.downsample = nn.ModuleList([shortcut, norm(model, channels, domains)])

    def forward(self, x: Tensor, domain: str) -> Tensor:
        """(N, C_in, H, W) -> (N, C, ceil(H / stride), ceil(W / stride))."""
        y = x
        for number in range(1, self.count + 1):
            y = getattr(self, f"conv{number}")(y)
            y = normed(getattr(self, f"bn{number}"), y, domain)
            y = y.relu() if number < self.count else y
        if self.project:
            x = normed(self.downsample[1], self.downsample[0](x), domain)
        return (x + y).relu()


class ResNet(nn.Module):
    """A ResNet (He et al., CVPR 2016) without its classifier, four levels."""

    strides = (4, 8, 16, 32)

    def __init__(self, model: dict[str, Any], domains: Sequence[str]) -> None:
        super().__init__()
        counts, bottleneck = _RESNETS[model["trunk"]]
        self.channels = tuple(w * (4 if bottleneck else 1) for w in (64, 128, 256, 512))
        self.symmetric = model["max_pool"] == "symmetric"
        self.conv1 = conv(3, 64, 7, 2, bias=False)
        self.bn1 = norm(model, 64, domains)
        c_in = 64
        for stage, (count, c_out) in enumerate(zip(counts, self.channels, strict=True), start=1):
            blocks = nn.ModuleList()
            for number in range(count):
                stride = 2 if stage > 1 and number == 0 else 1
                width = 32 * 2**stage
                blocks.append(Block(model, c_in, width, stride, bottleneck, domains))
                c_in = c_out
            setattr(self, f"layer{stage}", blocks)

    def forward(self, x: Tensor, domain: str) -> list[Tensor]:
        """(N, 3, H, W) -> a map of every level, finest first."""
        x = normed(self.bn1, self.conv1(x), domain).relu()
        x = max_pool(x, 3, 2, self.symmetric)
        maps = []
        for stage in (1, 2, 3, 4):
            for block in getattr(self, f"layer{stage}"):
                x = block(x, domain)
            maps.append(x)
        return maps


class AttentionModule(nn.Module):
    """1x1 conv - norm - ReLU - 1x1 conv - norm: the logits of a soft mask over a shared map."""

    def __init__(self, model: dict[str, Any], c_in: int, channels: int) -> None:
        super().__init__()
        self.conv1, self.norm1 = conv(c_in, channels, 1), norm(model, channels)
        self.conv2, self.norm2 = conv(channels, channels, 1), norm(model, channels)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C_in, H, W) -> (N, C, H, W)."""
        mask: Tensor = self.norm2(self.conv2(self.norm1(self.conv1(x)).relu()))
        return mask


class ClassificationHead(nn.Module):
    """Global average pooling of the last level and a linear layer."""

    def __init__(self, channels: int, num_classes: int) -> None:
        super().__init__()
        self.linear = nn.Linear(channels, num_classes)

    def forward(self, levels: list[Tensor], size: Sequence[int]) -> Tensor:
        """Maps of all levels -> logits (N, K)."""
        logits: Tensor = self.linear(levels[-1].mean((2, 3)))
        return logits


class SegmentationHead(nn.Module):
    """A top-down decoder: from the last level up, each level adds what it knows more precisely."""

    def __init__(self, model: dict[str, Any], channels: Sequence[int], num_classes: int) -> None:
        super().__init__()
        width = model["decoder_channels"]
        self.lateral = nn.ModuleList([conv(c, width, 1) for c in channels])
        self.conv, self.norm = conv(width, width, 3), norm(model, width)
        self.classify = conv(width, num_classes, 1)

    def forward(self, levels: list[Tensor], size: Sequence[int]) -> Tensor:
        """Maps of all levels, height and width of the pictures -> logits (N, K, H, W)."""
        x = self.lateral[-1](levels[-1])
        for lateral, finer in list(zip(self.lateral, levels, strict=True))[-2::-1]:
            x = lateral(finer) + resize(x, finer.shape[2:])
        return resize(self.classify(self.norm(self.conv(x)).relu()), size)


def resize(x: Tensor, size: Sequence[int]) -> Tensor:
    """(N, C, H, W) -> (N, C, *size), bilinear."""
    return F.interpolate(x, tuple(size), mode="bilinear", align_corners=False)


class TaskBranch(nn.Module):
    """The attention modules of one task on all levels, if it has any, and its head."""

    def __init__(
        self, model: dict[str, Any], task: dict[str, Any], channels: Sequence[int]
    ) -> None:
        super().__init__()
        if model["branch"] == "attention":
            inputs = [channels[0], *(2 * c for c in channels[1:])]
            pairs = zip(inputs, channels, strict=True)
            self.attention = nn.ModuleList([AttentionModule(model, *pair) for pair in pairs])
        classes = len(task["classes"])
        self.head = (
            ClassificationHead(channels[-1], classes)
            if task["kind"] == "scene"
            else SegmentationHead(model, channels, classes)
        )

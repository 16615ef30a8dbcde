"""The PyTorch twin: the same network, and its training step under DistributedDataParallel (gloo).

Wide ResNet, attention branches, shared extractors, linear heads. The parts have the names of ours
(``train/model/``), so that our parameters fit by name. Shapes: N = images, C = channels, H, W =
height and width. Tensors are (N, C, H, W).
"""

import itertools
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel

from tools.bench.peers import Peer
from tools.bench.workload import LABEL_SMOOTHING, MEAN, OPTIMIZER, STD, Workload

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


def _attention(c_in: int, channels: int) -> nn.Sequential:
    """Return a soft mask over a map: (N, C_in, H, W) -> (N, C, H, W) in (0, 1)."""
    layers = {
        "conv1": _conv(c_in, channels, 1),
        "norm1": nn.BatchNorm2d(channels),
        "relu": nn.ReLU(),
        "conv2": _conv(channels, channels, 1),
        "norm2": nn.BatchNorm2d(channels),
        "mask": nn.Sigmoid(),
    }
    return nn.Sequential(OrderedDict(layers))


def _extractor(c_in: int, channels: int, pools: bool) -> nn.Sequential:
    """Return conv-norm-ReLU and a 2x2 max-pool: (N, C_in, H, W) -> (N, C, H / 2, W / 2)."""
    layers = {"conv": _conv(c_in, channels, 3), "norm": nn.BatchNorm2d(channels), "relu": nn.ReLU()}
    if pools:
        # Odd sizes are rounded up, as by the trunk's strided convolutions.
        layers["pool"] = nn.MaxPool2d(2, ceil_mode=True)
    return nn.Sequential(OrderedDict(layers))


class TorchMTLN(nn.Module):
    """The network on a mixed batch: all images pass the shared branch together.

    Args:
        depth: Of the wide ResNet.
        width: Of the wide ResNet.
        classes: Classes of every task.
    """

    def __init__(self, depth: int, width: int, classes: Sequence[int]) -> None:
        super().__init__()
        trunk = WideResNet(depth, width)
        channels, last = trunk.channels, len(trunk.channels) - 1
        pairs = zip(channels, [*channels[1:], channels[-1]], strict=True)
        extractors = [_extractor(*pair, level < last) for level, pair in enumerate(pairs)]
        parts = {"trunk": trunk, "extractors": nn.ModuleList(extractors)}
        self.shared = nn.ModuleDict(parts)
        self.tasks = nn.ModuleDict({f"set{i}": _branch(channels, n) for i, n in enumerate(classes)})

    def forward(self, images: Tensor, counts: list[int]) -> list[Tensor]:
        """Normalised images (N, 3, H, W), ``counts[k]`` of task k -> logits per task."""
        levels = [x.split(counts) for x in self.shared["trunk"](images)]
        branches = list(self.tasks.values())
        extracted: Sequence[Tensor] = []
        for level, extractor in enumerate(self.shared["extractors"]):
            attended = []
            for task, branch in enumerate(branches):
                own = levels[level][task]
                seen = torch.cat((own, extracted[task]), 1) if level else own
                attended.append(branch["attention"][level](seen) * own)
            extracted = extractor(torch.cat(attended)).split(counts)
        pooled = [x.mean((2, 3)) for x in extracted]
        return [b["head"]["linear"](x) for b, x in zip(branches, pooled, strict=True)]


def _branch(channels: Sequence[int], classes: int) -> nn.ModuleDict:
    """Return the attention modules of one task, and its head."""
    inputs = [channels[0], *(2 * c for c in channels[1:])]
    head = nn.ModuleDict({"linear": nn.Linear(channels[-1], classes)})
    attention = nn.ModuleList(map(_attention, inputs, channels))
    return nn.ModuleDict({"attention": attention, "head": head})


class Trainer(Peer):
    """A rank that trains.

    Args:
        spec: ``workload``; ``channels_last``; ``weights``: our first parameters, or nothing;
            ``cores``: of every rank; ``folder``: where the ranks meet.
        rank: This rank.
    """

    def __init__(self, spec: dict[str, Any], rank: int) -> None:
        torch.set_num_threads(len(spec["cores"][rank]))
        torch.manual_seed(1)
        work, world = Workload.of(spec), len(spec["cores"])
        self.format = torch.channels_last if spec["channels_last"] else torch.contiguous_format
        network = TorchMTLN(work.depth, work.width, work.classes)
        if spec.get("weights"):
            _load_ours(network, np.load(spec["weights"]))
        # The memory format of the parameters decides which kernels the convolutions take.
        network = network.to(memory_format=self.format)
        self.optimizer = _optimizer(network)
        self.network: Any = network
        self.joined = world > 1
        if self.joined:
            address = f"file://{spec['folder']}/meeting"
            dist.init_process_group("gloo", init_method=address, rank=rank, world_size=world)
            # As quick as its options make it; every rank keeps its own batch-norm statistics.
            self.network = DistributedDataParallel(
                network, broadcast_buffers=False, gradient_as_bucket_view=True
            )
        self.batches = itertools.cycle(
            ([torch.from_numpy(x) for x in images], [torch.from_numpy(y) for y in labels])
            for images, labels in work.batches(rank)
        )
        self.info = {
            "versions": {"torch": torch.__version__},
            "losses": [self.run(1)["losses"] for _ in range(3)],
        }

    def run(self, steps: int) -> dict[str, list[float]]:
        """Train some steps; tell the losses of the last one on this rank."""
        for images, labels in itertools.islice(self.batches, steps):
            self.optimizer.zero_grad(set_to_none=True)
            answers = self.network(self._mix(images), [len(x) for x in images])
            losses = torch.stack(
                [
                    cross_entropy(logits, target, label_smoothing=LABEL_SMOOTHING)
                    for logits, target in zip(answers, labels, strict=True)
                ]
            )
            losses.sum().backward()
            self.optimizer.step()
        return {"losses": losses.tolist()}

    def close(self) -> None:
        """Leave the other ranks."""
        if self.joined:
            dist.barrier()
            dist.destroy_process_group()

    def _mix(self, images: list[Tensor]) -> Tensor:
        """uint8 (n, H, W, 3) of every task -> normalised (N, 3, H, W)."""
        pixels = torch.cat(images).permute(0, 3, 1, 2)
        # In the wanted format before it becomes four times as large.
        pixels = pixels.contiguous(memory_format=self.format)
        return pixels.float().mul_(1 / (255 * STD)).sub_(MEAN / STD)


def _load_ours(network: TorchMTLN, parameters: Mapping[str, Any]) -> None:
    """Take over our parameters and statistics; an error names what does not fit."""
    state = {}
    for name, values in parameters.items():
        stem, _, last = name.rpartition(".")
        state[f"{stem}.{_NORMS.get(last, last)}"] = torch.from_numpy(values)
    missing, unexpected = network.load_state_dict(state, strict=False)
    # PyTorch counts the batches of every norm; we do not.
    lost = [name for name in missing if not name.endswith("num_batches_tracked")]
    if lost or unexpected:
        raise ValueError(f"parameters do not fit: {lost} missing, {unexpected} unknown")


def _optimizer(network: TorchMTLN) -> torch.optim.Optimizer:
    """Return SGD with Nesterov momentum; weight decay on weights only."""
    weights = [p for p in network.parameters() if p.ndim > 1]
    others = [p for p in network.parameters() if p.ndim <= 1]
    rate, momentum, decay = OPTIMIZER.values()
    groups = [{"params": weights, "weight_decay": decay}, {"params": others}]
    return torch.optim.SGD(groups, rate, momentum, nesterov=True, fused=True)

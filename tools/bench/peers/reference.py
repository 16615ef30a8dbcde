"""The schedule of the MTLN reference script, written anew: one task after the other.

What it does as the script does it: a graph of its own for the step of every task; every step
updates all parameters by ``nn.Momentum``; and after the update a second forward pass of the same
batch gives the accuracy, still in training mode. Mended: every task has its own head, the pooling
does not depend on the image size. Plain cells of MindSpore, none of ours.
"""

from __future__ import annotations

import itertools
import time
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops

from tools.bench.workload import LEARNING_RATE, MEAN, MOMENTUM, STD, WEIGHT_DECAY, Workload


def _conv(c_in: int, c_out: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    padding = kernel // 2
    return nn.Conv2d(c_in, c_out, kernel, stride, "pad", padding, has_bias=True)


class Block(nn.Cell):
    """Norm-ReLU-conv twice, plus the identity or a 1x1 convolution of the input."""

    def __init__(self, c_in: int, channels: int, stride: int) -> None:
        super().__init__()
        self.first = nn.SequentialCell(nn.BatchNorm2d(c_in), nn.ReLU(), _conv(c_in, channels, 3))
        self.second = nn.SequentialCell(
            nn.BatchNorm2d(channels), nn.ReLU(), _conv(channels, channels, 3, stride)
        )
        same = stride == 1 and c_in == channels
        self.shortcut = nn.Identity() if same else _conv(c_in, channels, 1, stride)

    def construct(self, x: Tensor) -> Tensor:
        """(N, C_in, H, W) -> (N, C, H / stride, W / stride)."""
        return self.second(self.first(x)) + self.shortcut(x)


class Attention(nn.Cell):
    """A soft mask over a map."""

    def __init__(self, c_in: int, channels: int) -> None:
        super().__init__()
        self.layers = nn.SequentialCell(
            _conv(c_in, channels, 1),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            _conv(channels, channels, 1),
            nn.BatchNorm2d(channels),
            nn.Sigmoid(),
        )

    def construct(self, x: Tensor) -> Tensor:
        """(N, C_in, H, W) -> (N, C, H, W)."""
        return self.layers(x)


class Network(nn.Cell):
    """Trunk, extractors shared by all tasks, and a list of attention modules and head per task."""

    def __init__(self, work: Workload) -> None:
        super().__init__()
        channels = (16, 16 * work.width, 32 * work.width, 64 * work.width)
        self.stem = _conv(3, channels[0], 3)
        self.stages = nn.CellList(
            [
                _stage(c_in, c_out, (work.depth - 4) // 6)
                for c_in, c_out in itertools.pairwise(channels)
            ]
        )
        self.final = nn.SequentialCell(nn.BatchNorm2d(channels[-1]), nn.ReLU())
        self.extractors = nn.CellList(
            [
                _extractor(c_in, c_out, pools=level < len(channels) - 1)
                for level, (c_in, c_out) in enumerate(
                    zip(channels, (*channels[1:], channels[-1]), strict=True)
                )
            ]
        )
        inputs = [channels[0], *(2 * c for c in channels[1:])]
        self.attention = nn.CellList(
            [nn.CellList(list(map(Attention, inputs, channels))) for _ in work.classes]
        )
        self.heads = nn.CellList([nn.Dense(channels[-1], n) for n in work.classes])
        self.concat = ops.Concat(1)

    def construct(self, x: Tensor, task: int) -> Tensor:
        """Normalised images (N, 3, H, W) of one task -> its logits (N, classes)."""
        maps = [self.stem(x)]
        for stage in self.stages:
            maps.append(stage(maps[-1]))
        maps[-1] = self.final(maps[-1])
        y = maps[0]
        for level, extractor in enumerate(self.extractors):
            seen = self.concat((maps[level], y)) if level > 0 else y
            y = extractor(self.attention[task][level](seen) * maps[level])
        return self.heads[task](y.mean((2, 3)))


class TaskLoss(nn.Cell):
    """Loss of one task's batch."""

    def __init__(self, network: Network, task: int) -> None:
        super().__init__(auto_prefix=False)
        self.network = network
        self.task = task
        self.loss = nn.CrossEntropyLoss()

    def construct(self, x: Tensor, labels: Tensor) -> Tensor:
        """Images (N, 3, H, W) and labels (N,) -> scalar."""
        return self.loss(self.network(x, self.task), labels)


class TaskAnswer(nn.Cell):
    """Logits of one task's batch."""

    def __init__(self, network: Network, task: int) -> None:
        super().__init__(auto_prefix=False)
        self.network = network
        self.task = task

    def construct(self, x: Tensor) -> Tensor:
        """Images (N, 3, H, W) -> (N, classes)."""
        return self.network(x, self.task)


class Peer:
    """One process that trains.

    Args:
        spec: ``workload``, with a step's images of all tasks in the batch of one task, so that
            both sides compute on batches of the same size; ``cores``.
        rank: 0.
    """

    def __init__(self, spec: dict[str, Any], rank: int) -> None:
        begin = time.perf_counter()
        ms.set_context(mode=ms.GRAPH_MODE, runtime_num_threads=len(spec["cores"][rank]))
        ms.set_device("CPU")
        ms.set_seed(1)
        work = Workload.of(spec["workload"])
        network = Network(work)
        network.set_train(True)
        optimizer = nn.Momentum(
            network.trainable_params(), LEARNING_RATE, MOMENTUM, WEIGHT_DECAY, use_nesterov=True
        )
        tasks = range(len(work.classes))
        self.steps = [nn.TrainOneStepCell(TaskLoss(network, k), optimizer) for k in tasks]
        self.answers = [TaskAnswer(network, k) for k in tasks]
        images, labels = work.batches(rank)[0]
        self.images = [((x / 255 - MEAN) / STD).astype(np.float32) for x in images]
        self.labels = labels
        for task in tasks:
            self._step(task)
        self.info = {
            "versions": {"mindspore": ms.__version__},
            "compile_seconds": time.perf_counter() - begin,
        }

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """``run``: seconds of so many steps of every task, one task after the other."""
        begin = time.perf_counter()
        for task in range(len(self.steps)):
            for _ in range(request["steps"]):
                self._step(task)
        return {"seconds": time.perf_counter() - begin}

    def close(self) -> None:
        """Nobody is waited for."""

    def _step(self, task: int) -> float:
        """One step; the accuracy on its batch."""
        x = Tensor(np.ascontiguousarray(self.images[task].transpose(0, 3, 1, 2)))
        labels = self.labels[task].astype(np.int32)
        self.steps[task](x, Tensor(labels))
        found = self.answers[task](x).asnumpy().argmax(1)
        return float((found == labels).mean())


def _stage(c_in: int, channels: int, depth: int) -> nn.SequentialCell:
    blocks = [Block(c_in, channels, 2), *(Block(channels, channels, 1) for _ in range(depth - 1))]
    return nn.SequentialCell(*blocks)


def _extractor(c_in: int, channels: int, pools: bool) -> nn.SequentialCell:
    layers = [_conv(c_in, channels, 3), nn.BatchNorm2d(channels), nn.ReLU()]
    return nn.SequentialCell(*layers, *([nn.MaxPool2d(2, 2)] if pools else []))

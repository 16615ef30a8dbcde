"""MTLN: one shared branch for all tasks, one attention branch and head per task.

Zheng, Gong, Li and Lu, "Generalized Scene Classification From Small-Scale Datasets With Multitask
Learning", IEEE TGRS 60, 2022. Without its attention branches it is the usual baseline, hard
parameter sharing: heads on the maps of one trunk.

Parameter names carry the partition: ``shared.*`` and ``tasks.<name>.*``.

Shapes: n_d = images of data set d in the mixed batch, N = their sum, C = channels, H, W = height
and width. Feature maps are NCHW, images NHWC.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import mindspore as ms
import numpy as np
from mindspore import Tensor, mint, nn, ops

from train.model.attention import AttentionModule, FeatureExtractor
from train.model.heads import ClassificationHead, SegmentationHead
from train.model.layers import Norm
from train.model.trunks import Trunk

BranchKind = Literal["attention", "linear"]
TaskKind = Literal["scene", "segmentation"]


@dataclass(frozen=True)
class DatasetInfo:
    """Name of a data set, and mean and standard deviation of its channels (RGB, in 0..1)."""

    name: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


@dataclass(frozen=True)
class TaskInfo:
    """Name of a task, the data set that feeds it, its number of classes, and what it classifies."""

    name: str
    dataset: str
    num_classes: int
    kind: TaskKind = "scene"


def is_shared(parameter_name: str) -> bool:
    """Whether a parameter belongs to the shared branch: the one place that decides it."""
    branch = parameter_name.partition(".")[0]
    if branch not in ("shared", "tasks"):
        raise ValueError(f"parameter {parameter_name!r} is neither in the shared nor a task branch")
    return branch == "shared"


class SharedBranch(nn.Cell):
    """The trunk, and the feature extractors that follow the attention masks of every task."""

    def __init__(self, trunk: Trunk, tasks: Sequence[str], norm_kind: Norm) -> None:
        super().__init__()
        self.trunk = trunk
        self.extractors = nn.CellList()
        if tasks:
            # Each level's leads to the next one; the last level's to the head.
            outputs = [*trunk.channels[1:], trunk.channels[-1]]
            strides = [*trunk.strides[1:], trunk.strides[-1]]
            for level, (c_in, c_out) in enumerate(zip(trunk.channels, outputs, strict=True)):
                step = strides[level] // trunk.strides[level]
                self.extractors.append(FeatureExtractor(c_in, c_out, norm_kind, tasks, step))


class TaskBranch(nn.Cell):
    """The attention modules of one task on all levels, if it has any, and its head."""

    def __init__(
        self,
        task: TaskInfo,
        channels: Sequence[int],
        branch: BranchKind,
        norm_kind: Norm,
        decoder_channels: int,
    ) -> None:
        super().__init__()
        if branch == "attention":
            # From level 1 on, a module sees the shared map and the task's own previous features.
            inputs = [channels[0], *(2 * c for c in channels[1:])]
            self.attention = nn.CellList(
                [
                    AttentionModule(c_in, c, norm_kind)
                    for c_in, c in zip(inputs, channels, strict=True)
                ]
            )
        if task.kind == "scene":
            self.head: nn.Cell = ClassificationHead(channels[-1], task.num_classes)
        else:
            self.head = SegmentationHead(channels, task.num_classes, decoder_channels, norm_kind)


class MTLN(nn.Cell):
    """The whole network on a mixed batch: all images pass the shared branch together, and once.

    Args:
        trunk: The shared trunk.
        datasets: The data sets, in the order of the mixed batch.
        tasks: The tasks, in the order of the answers.
        norm_kind: Kind of norm.
        branch: Attention branches, or heads on the trunk's maps.
        decoder_channels: Channels of the decoders of segmentation tasks.
    """

    def __init__(
        self,
        trunk: Trunk,
        datasets: Sequence[DatasetInfo],
        tasks: Sequence[TaskInfo],
        norm_kind: Norm = "batch",
        branch: BranchKind = "attention",
        decoder_channels: int = 32,
    ) -> None:
        super().__init__()
        self.attends = branch == "attention"
        attending = [t.name for t in tasks] if self.attends else []
        self.shared = SharedBranch(trunk, attending, norm_kind)
        self.tasks = nn.CellDict(
            {
                t.name: TaskBranch(t, trunk.channels, branch, norm_kind, decoder_channels)
                for t in tasks
            }
        )
        names = [d.name for d in datasets]
        self.dataset_of_task = tuple(names.index(t.dataset) for t in tasks)
        # (x / 255 - mean) / std as one multiplication and one addition per channel.
        self.scales = tuple(_channels_last([1 / (255 * s) for s in d.std]) for d in datasets)
        self.shifts = tuple(
            _channels_last([-m / s for m, s in zip(d.mean, d.std, strict=True)]) for d in datasets
        )
        self.concat = ops.Concat(0)
        self.concat_channels = ops.Concat(1)

    def construct(self, *images: Tensor) -> list[Tensor]:
        """One uint8 tensor (n_d, H, W, 3) per data set -> logits per task.

        Those of a scene task are (n_d, classes), of a segmentation task (n_d, classes, H, W).
        """
        counts = [pixels.shape[0] for pixels in images]
        size = images[0].shape[1:3]
        maps = self.shared.trunk(self._mix(images), counts)
        levels = [self._by_task(shared, counts) for shared in maps]
        if self.attends:
            levels = self._distil(levels)
        answers = []
        for i, branch in enumerate(self.tasks.values()):
            answers.append(branch.head([level[i] for level in levels], size))
        return answers

    def _mix(self, images: tuple[Tensor, ...]) -> Tensor:
        """Normalises every data set with its own statistics and concatenates: (N, 3, H, W)."""
        mixed = [
            pixels.astype(ms.float32) * self.scales[d] + self.shifts[d]
            for d, pixels in enumerate(images)
        ]
        return self.concat(mixed).transpose((0, 3, 1, 2))

    def _by_task(self, shared: Tensor, counts: Sequence[int]) -> list[Tensor]:
        """Every task's slice of a map: that of its data set's images."""
        of_dataset = mint.split(shared, counts)
        return [of_dataset[d] for d in self.dataset_of_task]

    def _distil(self, levels: list[list[Tensor]]) -> list[list[Tensor]]:
        """Makes task-specific maps of every task's slices of the shared ones, level by level.

        Every task masks its slice; all masked slices pass the shared extractor together, and what
        comes out is seen by the task's next mask. The last level's is what the heads see.
        """
        counts = [x.shape[0] for x in levels[0]]
        distilled = []
        extracted: list[Tensor] = []
        for level, extractor in enumerate(self.shared.extractors):
            attended = []
            for i, branch in enumerate(self.tasks.values()):
                own = levels[level][i]
                seen = self.concat_channels((own, extracted[i])) if level > 0 else own
                attended.append(branch.attention[level](seen) * own)
            extracted = mint.split(extractor(self.concat(attended), counts), counts)
            distilled.append(attended)
        distilled[-1] = extracted
        return distilled


def _channels_last(values: Sequence[float]) -> Tensor:
    return Tensor(np.asarray(values, np.float32).reshape(1, 1, 1, -1))

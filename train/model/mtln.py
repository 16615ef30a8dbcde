"""MTLN: one shared branch for all tasks, one attention branch and head per task.

Zheng, Gong, Li and Lu, "Generalized Scene Classification From Small-Scale Datasets With Multitask
Learning", IEEE TGRS 60, 2022.

Parameter names carry the partition: ``shared.*`` and ``tasks.<name>.*``.

Shapes: n_d = images of data set d in the mixed batch, N = their sum, C = channels, H, W = height
and width. Feature maps are NCHW.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import mindspore as ms
import numpy as np
from mindspore import Tensor, mint, nn, ops

from train.model.attention import AttentionModule, FeatureExtractor
from train.model.heads import ClassificationHead
from train.model.layers import Norm
from train.model.wide_resnet import WideResNet

NUM_LEVELS = 4


@dataclass(frozen=True)
class DatasetInfo:
    """Name of a data set, and mean and standard deviation of its channels (RGB, in 0..1)."""

    name: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


@dataclass(frozen=True)
class TaskInfo:
    """Name of a task, the data set that feeds it, and its number of classes."""

    name: str
    dataset: str
    num_classes: int


def is_shared(parameter_name: str) -> bool:
    """Whether a parameter belongs to the shared branch: the one place that decides it."""
    branch = parameter_name.partition(".")[0]
    if branch not in ("shared", "tasks"):
        raise ValueError(f"parameter {parameter_name!r} is neither in the shared nor a task branch")
    return branch == "shared"


class SharedBranch(nn.Cell):
    """The trunk, and the feature extractors that follow the attention masks of every task."""

    def __init__(self, trunk: WideResNet, norm_kind: Norm) -> None:
        super().__init__()
        self.trunk = trunk
        c0, c1, c2, c3 = trunk.channels
        self.extractors = nn.CellList(
            [
                FeatureExtractor(c0, c1, norm_kind, pool=True),
                FeatureExtractor(c1, c2, norm_kind, pool=True),
                FeatureExtractor(c2, c3, norm_kind, pool=True),
                FeatureExtractor(c3, c3, norm_kind, pool=False),
            ]
        )


class TaskBranch(nn.Cell):
    """The attention modules of one task on all four levels, and its head."""

    def __init__(self, trunk_channels: Sequence[int], num_classes: int, norm_kind: Norm) -> None:
        super().__init__()
        # From level 1 on, a module sees the shared map and the task's own previous features.
        inputs = [trunk_channels[0], *(2 * c for c in trunk_channels[1:])]
        self.attention = nn.CellList(
            [
                AttentionModule(c_in, c, norm_kind)
                for c_in, c in zip(inputs, trunk_channels, strict=True)
            ]
        )
        self.head = ClassificationHead(trunk_channels[-1], num_classes)


class MTLN(nn.Cell):
    """The whole network on a mixed batch: all images pass the shared branch together.

    Args:
        trunk: The shared trunk.
        datasets: The data sets, in the order of the mixed batch.
        tasks: The tasks, in the order of the answers.
        norm_kind: Batch or group norm.
    """

    def __init__(
        self,
        trunk: WideResNet,
        datasets: Sequence[DatasetInfo],
        tasks: Sequence[TaskInfo],
        norm_kind: Norm = "batch",
    ) -> None:
        super().__init__()
        self.shared = SharedBranch(trunk, norm_kind)
        self.tasks = nn.CellDict(
            {t.name: TaskBranch(trunk.channels, t.num_classes, norm_kind) for t in tasks}
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
        """One uint8 tensor (n_d, H, W, 3) per data set -> logits (n_d, classes) per task."""
        counts = [pixels.shape[0] for pixels in images]
        maps = self.shared.trunk(self._mix(images))
        features: list[Tensor] = []
        for level in range(NUM_LEVELS):
            of_dataset = mint.split(maps[level], counts)
            slices = [of_dataset[d] for d in self.dataset_of_task]
            features = self._attend(level, slices, features)
        return [branch.head(x) for branch, x in zip(self.tasks.values(), features)]  # noqa: B905

    def _mix(self, images: tuple[Tensor, ...]) -> Tensor:
        """Normalises every data set with its own statistics and concatenates: (N, 3, H, W)."""
        mixed = [
            pixels.astype(ms.float32) * self.scales[d] + self.shifts[d]
            for d, pixels in enumerate(images)
        ]
        return self.concat(mixed).transpose((0, 3, 1, 2))

    def _attend(self, level: int, slices: list[Tensor], previous: list[Tensor]) -> list[Tensor]:
        """Masks every task's slice, then one pass of all of them through the shared extractor."""
        attended = []
        for i, branch in enumerate(self.tasks.values()):
            seen = self.concat_channels((slices[i], previous[i])) if level > 0 else slices[i]
            attended.append(branch.attention[level](seen) * slices[i])
        extracted = self.shared.extractors[level](self.concat(attended))
        parts: list[Tensor] = mint.split(extracted, [x.shape[0] for x in slices])
        return parts


def _channels_last(values: Sequence[float]) -> Tensor:
    return Tensor(np.asarray(values, np.float32).reshape(1, 1, 1, -1))

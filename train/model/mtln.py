"""MTLN: one shared branch for all tasks, one attention branch and head per task.

Zheng, Gong, Li and Lu, "Generalized Scene Classification From Small-Scale Datasets With Multitask
Learning", IEEE TGRS 60, 2022. Without its attention branches it is the usual baseline, hard
parameter sharing: heads on the maps of one trunk.

Parameter names carry the partition: ``shared.*`` and ``tasks.<name>.*``.

Shapes: n_d = images of data set d in the mixed batch, N = their sum, C = channels, H, W = height
and width. Feature maps are (N, C, H, W), or as the layers order their axes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import mindspore as ms
import numpy as np
from mindspore import Tensor, mint, nn, ops

from train.model.attention import AttentionModule, FeatureExtractor
from train.model.heads import ClassificationHead, SegmentationHead
from train.model.stock_backend import Layers
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

    def __init__(self, trunk: Trunk, tasks: Sequence[str], layers: Layers) -> None:
        super().__init__()
        self.trunk = trunk
        self.extractors = nn.CellList()
        if tasks:
            # Each level's leads to the next one; the last level's to the head.
            outputs = [*trunk.channels[1:], trunk.channels[-1]]
            strides = [*trunk.strides[1:], trunk.strides[-1]]
            for level, (c_in, c_out) in enumerate(zip(trunk.channels, outputs, strict=True)):
                step = strides[level] // trunk.strides[level]
                self.extractors.append(FeatureExtractor(c_in, c_out, tasks, step, layers))


class TaskBranch(nn.Cell):
    """The attention modules of one task on all levels, if it has any, and its head."""

    def __init__(
        self,
        task: TaskInfo,
        channels: Sequence[int],
        branch: BranchKind,
        decoder_channels: int,
        layers: Layers,
    ) -> None:
        super().__init__()
        if branch == "attention":
            # From level 1 on, a module sees the shared map and the task's own previous features.
            inputs = [channels[0], *(2 * c for c in channels[1:])]
            self.attention = nn.CellList(
                [AttentionModule(c_in, c, layers) for c_in, c in zip(inputs, channels, strict=True)]
            )
        if task.kind == "scene":
            self.head: nn.Cell = ClassificationHead(channels[-1], task.num_classes, layers)
        else:
            self.head = SegmentationHead(channels, task.num_classes, decoder_channels, layers)


class MTLN(nn.Cell):
    """The whole network on a mixed batch: all images pass the shared branch together, and once.

    Args:
        trunk: The shared trunk.
        datasets: The data sets, in the order of the mixed batch.
        tasks: The tasks, in the order of the answers.
        layers: What it is made of, the trunk too.
        branch: Attention branches, or heads on the trunk's maps.
        decoder_channels: Channels of the decoders of segmentation tasks.
    """

    def __init__(
        self,
        trunk: Trunk,
        datasets: Sequence[DatasetInfo],
        tasks: Sequence[TaskInfo],
        layers: Layers | None = None,
        branch: BranchKind = "attention",
        decoder_channels: int = 32,
    ) -> None:
        super().__init__()
        self.layers = layers = layers or Layers()
        attending = [t.name for t in tasks] if branch == "attention" else []
        self.shared = SharedBranch(trunk, attending, layers)
        self.tasks = nn.CellDict(
            {t.name: TaskBranch(t, trunk.channels, branch, decoder_channels, layers) for t in tasks}
        )
        self.attention = tuple(
            layers.attention_level([b.attention[level] for b in self.tasks.values()])
            for level in range(len(self.shared.extractors))
        )
        names = [d.name for d in datasets]
        self.dataset_of_task = tuple(names.index(t.dataset) for t in tasks)
        # Whether the images of the tasks, one task after the other, are those of the mixed batch.
        self.tasks_are_datasets = self.dataset_of_task == tuple(range(len(datasets)))
        # (x / 255 - mean) / std as one multiplication and one addition per channel.
        self.scales = tuple(tuple(1 / (255 * s) for s in d.std) for d in datasets)
        self.shifts = tuple(
            tuple(-m / s for m, s in zip(d.mean, d.std, strict=True)) for d in datasets
        )
        heads = [branch.head for branch in self.tasks.values()]
        self.scene_tasks = tuple(i for i, task in enumerate(tasks) if task.kind == "scene")
        self.pixel_tasks = tuple(i for i, task in enumerate(tasks) if task.kind == "segmentation")
        self.pixel_heads = tuple(heads[i] for i in self.pixel_tasks)
        # In a tuple, as attention is: no child, for its parameters belong to the task branches.
        self.scene_heads = (
            layers.scene_heads([heads[i] for i in self.scene_tasks], self.scene_tasks),
        )
        # For every task, where its answer is among those of scene tasks and then of the others.
        grouped = (*self.scene_tasks, *self.pixel_tasks)
        self.order = tuple(grouped.index(i) for i in range(len(tasks)))
        self.from_images = layers.from_images()
        self.concat = ops.Concat(0)

    def construct(self, *images: Tensor) -> list[Tensor]:
        """One uint8 tensor (n_d, H, W, 3) per data set -> logits per task.

        Those of a scene task are (n_d, classes), of a segmentation task (n_d, classes, H, W).
        """
        counts = tuple([pixels.shape[0] for pixels in images])
        of_tasks = tuple([counts[d] for d in self.dataset_of_task])
        maps = self.shared.trunk(self._mix(images, counts), counts)
        levels = [self._by_task(shared, counts) for shared in maps]
        if self.attention:
            levels = self._distil(levels, of_tasks)
        return self._answers(levels, of_tasks, images[0].shape[1:3])

    def _mix(self, images: tuple[Tensor, ...], counts: tuple[int, ...]) -> Tensor:
        """Normalises every data set with its own statistics: a map of all images."""
        pixels = self.concat(images).astype(ms.float32)
        scales, shifts = _per_image(self.scales, counts), _per_image(self.shifts, counts)
        return self.from_images(pixels * scales + shifts)

    def _by_task(self, shared: Tensor, counts: Sequence[int]) -> Tensor:
        """A map of the images of all tasks, one task after the other."""
        if self.tasks_are_datasets:
            return shared
        of_dataset = mint.split(shared, counts)
        return self.concat([of_dataset[d] for d in self.dataset_of_task])

    def _distil(self, levels: list[Tensor], counts: Sequence[int]) -> list[Tensor]:
        """Makes task-specific maps of the shared ones, level by level, for all tasks together.

        Every task masks its slice; all masked slices pass the shared extractor together, and what
        comes out is seen by the task's next mask. The last level's is what the heads see.
        """
        distilled = []
        extracted: tuple[Tensor, ...] = ()
        for attend, extractor, shared in zip(  # noqa: B905
            self.attention, self.shared.extractors, levels
        ):
            attended = attend(counts, shared, *extracted)
            extracted = (extractor(attended, counts),)
            distilled.append(attended)
        distilled[-1] = extracted[0]
        return distilled

    def _answers(
        self, levels: list[Tensor], counts: tuple[int, ...], size: tuple[int, int]
    ) -> list[Tensor]:
        """Logits of every task: scene heads all together, segmentation heads one by one."""
        # Not a loop over them: where the step computes its losses twice (FAMO), the graph compiler
        # would fail with "Illegal AnfNode".
        answers = list(self.scene_heads[0](levels[-1], counts)) if self.scene_tasks else []
        if self.pixel_tasks:
            parts = [mint.split(level, counts) for level in levels]
            for i, head in zip(self.pixel_tasks, self.pixel_heads):  # noqa: B905
                answers.append(head([part[i] for part in parts], size))
        return [answers[i] for i in self.order]


@ops.constexpr  # type: ignore[untyped-decorator]
def _per_image(values: tuple[tuple[float, ...], ...], counts: tuple[int, ...]) -> Tensor:
    """Values of every data set's channels, repeated for each of its images: (N, 1, 1, 3)."""
    rows = np.repeat(np.asarray(values, np.float32), counts, axis=0)
    return Tensor(rows[:, None, None, :])

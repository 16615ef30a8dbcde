"""MTLN: one shared branch for all tasks, one attention branch and head per task.

Zheng, Gong, Li and Lu, "Generalized Scene Classification From Small-Scale Datasets With Multitask
Learning", IEEE TGRS 60, 2022, after MTAN (Liu, Johns and Davison, CVPR 2019). Without its attention
branches it is the usual baseline, hard parameter sharing: heads on the maps of one trunk.

Parameter names carry the partition: ``shared.*`` and ``tasks.<name>.*``.

Shapes: n_d = images of data set d in the mixed batch, N = their sum, C = channels, H, W = height
and width. Feature maps are (N, C, H, W), or as the backend orders their axes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol, TypeVar

import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor, nn, ops

from train.model.attention import AttentionModule, FeatureExtractor
from train.model.backend import Backend
from train.model.layers import ByTask
from train.model.trunks import Trunk

BranchKind = Literal["attention", "linear"]
T = TypeVar("T")


@dataclass(frozen=True)
class DatasetInfo:
    """Name of a data set, and mean and standard deviation of its channels (RGB, in 0..1)."""

    name: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


class NetworkTask(Protocol):
    """What the network asks of a task (:class:`train.tasks.base.Task`); its class is its kind."""

    answers: ClassVar[type[nn.Cell]]

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def dataset(self) -> str:
        """The data set that feeds it."""

    def head(self, channels: Sequence[int], backend: Backend) -> nn.Cell:
        """Return its head, for maps with ``channels[l]`` channels on level l."""


def group_by_kind(tasks: Sequence[T]) -> dict[type[T], tuple[int, ...]]:
    """Return the positions of the tasks of every kind, which is their class."""
    kinds = dict.fromkeys(map(type, tasks))
    return {k: tuple(i for i, task in enumerate(tasks) if type(task) is k) for k in kinds}


def is_shared(parameter_name: str) -> bool:
    """Return whether a parameter is in the shared branch: the one place that decides it."""
    branch = parameter_name.partition(".")[0]
    if branch not in ("shared", "tasks"):
        raise ValueError(f"parameter {parameter_name!r} is neither in the shared nor a task branch")
    return branch == "shared"


def is_trunk(parameter_name: str) -> bool:
    """Return whether a parameter is in the trunk, which is a part of the shared branch."""
    return parameter_name.startswith("shared.trunk.")


def split_by_branch(network: nn.Cell) -> tuple[list[Parameter], list[Parameter]]:
    """Return the trainable parameters: (of the shared branch, of the task branches)."""
    trainable = network.trainable_params()
    shared = [p for p in trainable if is_shared(p.name)]
    return shared, [p for p in trainable if not is_shared(p.name)]


def moving_statistics(network: nn.Cell) -> list[Parameter]:
    """Return what batch norm has seen: the moving means, then the moving variances."""
    kinds = ".moving_mean", ".moving_variance"
    return [p for kind in kinds for p in network.get_parameters() if p.name.endswith(kind)]


class SharedBranch(nn.Cell):
    """The trunk, and the feature extractors that follow the attention masks of every task."""

    def __init__(self, trunk: Trunk, tasks: Sequence[str], backend: Backend) -> None:
        super().__init__()
        self.trunk = trunk
        self.extractors = nn.CellList()
        if tasks:
            # Each level's leads to the next one; the last level's to the head.
            outputs = [*trunk.channels[1:], trunk.channels[-1]]
            strides = [*trunk.strides[1:], trunk.strides[-1]]
            for level, (c_in, c_out) in enumerate(zip(trunk.channels, outputs, strict=True)):
                step = strides[level] // trunk.strides[level]
                self.extractors.append(FeatureExtractor(c_in, c_out, tasks, step, backend))


class TaskBranch(nn.Cell):
    """The attention modules of one task on all levels, if it has any, and its head."""

    def __init__(
        self, task: NetworkTask, channels: Sequence[int], branch: BranchKind, backend: Backend
    ) -> None:
        super().__init__()
        if branch == "attention":
            # From level 1 on, a module sees the shared map and the task's own previous features.
            inputs = [channels[0], *(2 * c for c in channels[1:])]
            self.attention = nn.CellList(
                [
                    AttentionModule(c_in, c, backend)
                    for c_in, c in zip(inputs, channels, strict=True)
                ]
            )
        self.head = task.head(channels, backend)


class MTLN(nn.Cell):
    """The whole network on a mixed batch: all images pass the shared branch together, and once.

    Args:
        trunk: The shared trunk.
        datasets: The data sets, in the order of the mixed batch.
        tasks: The tasks, in the order of the answers.
        backend: Made the trunk, and makes the other layers.
        branch: Attention branches, or heads on the trunk's maps.
    """

    def __init__(
        self,
        trunk: Trunk,
        datasets: Sequence[DatasetInfo],
        tasks: Sequence[NetworkTask],
        backend: Backend | None = None,
        branch: BranchKind = "attention",
    ) -> None:
        super().__init__()
        self.backend = backend = backend or Backend()
        attending = [t.name for t in tasks] if branch == "attention" else []
        self.shared = SharedBranch(trunk, attending, backend)
        self.tasks = nn.CellDict(
            {task.name: TaskBranch(task, trunk.channels, branch, backend) for task in tasks}
        )
        names = [d.name for d in datasets]
        self.dataset_of_task = tuple(names.index(t.dataset) for t in tasks)
        self.by_task = ByTask(self.dataset_of_task, len(datasets))
        self.attention = tuple(
            backend.attention_level([b.attention[level] for b in self.tasks.values()], self.by_task)
            for level in range(len(self.shared.extractors))
        )
        # (x / 255 - mean) / std as one multiplication and one addition per channel.
        self.scales = tuple(tuple(1 / (255 * s) for s in d.std) for d in datasets)
        self.shifts = tuple(
            tuple(-m / s for m, s in zip(d.mean, d.std, strict=True)) for d in datasets
        )
        heads = [branch.head for branch in self.tasks.values()]
        groups = group_by_kind(tasks)
        # In a tuple, as attention is: no children, for the parameters belong to the task branches.
        self.answers_of_kinds = tuple(
            kind.answers([heads[i] for i in positions], positions, backend)
            for kind, positions in groups.items()
        )
        # For every task, its kind and where its answer is among those of its kind.
        places = {
            task: (kind, i)
            for kind, positions in enumerate(groups.values())
            for i, task in enumerate(positions)
        }
        self.places = tuple(places[i] for i in range(len(tasks)))
        self.from_images = backend.from_images()
        self.concat = ops.Concat(0)
        self.trunk_is_frozen = False

    def freeze_trunk(self, frozen: bool) -> None:
        """Choose what becomes of the trunk in graphs that are compiled from now on.

        Args:
            frozen: Whether it gets no gradient and computes as in evaluation.
        """
        self.trunk_is_frozen = frozen
        self.shared.trunk.set_train(self.training and not frozen)

    def construct(self, *images: Tensor) -> tuple[Tensor, ...]:
        """One uint8 tensor (n_d, H, W, 3) per data set -> logits (n_d, classes, ...) per task."""
        counts = tuple([pixels.shape[0] for pixels in images])
        of_tasks = tuple([counts[d] for d in self.dataset_of_task])
        levels = self._distil(self.shared_maps(images, counts), counts, of_tasks)
        size = images[0].shape[1:3]
        by_kind = [of_kind(levels, of_tasks, size) for of_kind in self.answers_of_kinds]
        return tuple([by_kind[place[0]][place[1]] for place in self.places])

    def shared_maps(
        self, images: tuple[Tensor, ...], counts: tuple[int, ...]
    ) -> tuple[Tensor, ...]:
        """Images as above -> the trunk's map (N, C, H, W) of every level."""
        maps: tuple[Tensor, ...] = self.shared.trunk(self._mix(images, counts), counts)
        if self.trunk_is_frozen:
            return tuple([ops.stop_gradient(shared) for shared in maps])
        return maps

    def _mix(self, images: tuple[Tensor, ...], counts: tuple[int, ...]) -> Tensor:
        """Normalise every data set with its own statistics; return a map of all images."""
        pixels = self.concat(images).astype(ms.float32)
        scales, shifts = _per_image(self.scales, counts), _per_image(self.shifts, counts)
        return self.from_images(pixels * scales + shifts)

    def _distil(
        self, levels: Sequence[Tensor], counts: Sequence[int], of_tasks: Sequence[int]
    ) -> tuple[Tensor, ...]:
        """Make task-specific maps of the shared ones, level by level, for all tasks together.

        Every task masks its slice; all masked slices pass the shared extractor together, and what
        comes out is seen by the task's next mask. The last level's is what the heads see. Without
        attention branches, they see the shared maps.
        """
        if not self.attention:
            return tuple([self.by_task(shared, counts) for shared in levels])
        distilled: tuple[Tensor, ...] = ()
        extracted: tuple[Tensor, ...] = ()
        for attend, extractor, shared in zip(  # noqa: B905
            self.attention, self.shared.extractors, levels
        ):
            attended = attend(counts, shared, *extracted)
            extracted = (extractor(attended, of_tasks),)
            distilled = (*distilled, attended)
        return (*distilled[:-1], *extracted)


@ops.constexpr  # type: ignore[untyped-decorator]
def _per_image(values: tuple[tuple[float, ...], ...], counts: tuple[int, ...]) -> Tensor:
    """Return the values of a data set's channels for each of its images: (N, 1, 1, 3)."""
    rows = np.repeat(np.asarray(values, np.float32), counts, axis=0)
    return Tensor(rows[:, None, None, :])

"""What every kind of tasks provides, and the tasks of a run.

Shapes: K = number of tasks, n = images of a task, C_t = classes of a task. Maps are (N, C, H, W),
or as the backend orders their axes.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, TypeVar

import mindspore as ms
import numpy as np
import numpy.typing as npt
from mindspore import Tensor, nn, ops

from train.config.schema import Config
from train.data.batch import Array, Batch, BatchLayout
from train.data.manifest import RecordSet
from train.model.backend import Backend
from train.model.mtln import group_by_kind
from train.tasks.registry import KINDS

Counts = npt.NDArray[np.int64]
AnyTask = TypeVar("AnyTask", bound="Task")


@dataclass(frozen=True)
class Task(ABC):
    """One task of a run; a subclass is a kind of tasks.

    All that a network with such tasks does is in the subclass. What the tasks of a kind do in the
    compiled graph (``answers``, ``losses``) they do together, so that one operator can
    serve all of them.

    Attributes:
        kind: Its name in the configuration and the registry.
        answers: The cell that computes the logits of all tasks of this kind, made of their heads,
            their positions among all tasks and the backend. Called with the maps of all levels, the
            images of every task and the size of the images, it returns (n, C_t, ...) for each.
        losses: The cell that computes their losses; see :class:`KindLosses`.
        decision: The cell that turns logits into answers; see :class:`Decision`.
        name: Its name.
        dataset: Name of the data set that feeds it.
        classes: Class names, in the order of the network's answers.
    """

    kind: ClassVar[str]
    answers: ClassVar[type[nn.Cell]]
    losses: ClassVar[type["KindLosses"]]
    decision: ClassVar[type["Decision"]]

    name: str
    dataset: str
    classes: tuple[str, ...]

    @classmethod
    @abstractmethod
    def resolve(cls: type[AnyTask], name: str, config: Config, record_set: RecordSet) -> AnyTask:
        """Return the task of this name as its data set allows it.

        Raises:
            UserError: The data set does not have what such a task needs.
        """

    @property
    def label_space(self) -> str | None:
        """The label space of the masks that it learns from; None for a task without masks."""
        return None

    @abstractmethod
    def head(self, channels: Sequence[int], backend: Backend) -> nn.Cell:
        """Return its head, for maps with ``channels[l]`` channels on level l."""

    @abstractmethod
    def tally(self, layout: BatchLayout, scene_classes: Sequence[str]) -> "Tally":
        """Return a fresh count of its right and wrong answers.

        Args:
            layout: What the batches of the evaluation are.
            scene_classes: Scene classes of its data set.
        """


class KindLosses(nn.Cell):
    """Base of the losses of all tasks of a kind.

    Constructor arguments:
        tasks: The tasks of this kind.
        positions: Their positions among all tasks.
        inputs: Where each finds its labels in a batch.
        weights: For each, the images of this rank over their mean over the ranks.
        backend: Makes layers.

    Attributes:
        counts: Whether the losses depend on :meth:`totals` over all ranks.
    """

    counts = False

    def totals(self, batch: Sequence[Tensor]) -> Tensor:
        """Return what must be added up over the ranks before the losses, one number per task."""
        raise NotImplementedError

    def construct(
        self, answers: Sequence[Tensor], batch: Sequence[Tensor], totals: Tensor
    ) -> Tensor:
        """Return the losses of the tasks of this kind.

        Args:
            answers: Logits of all K tasks.
            batch: The batch.
            totals: Of all K tasks, the mean of :meth:`totals` over the ranks; not looked at unless
                ``counts``.
        """
        raise NotImplementedError


class Decision(nn.Cell):
    """What makes answers of the logits of a task, (n, K, ...): the most likely class.

    Attributes:
        dtype: Type of the answers.
    """

    dtype = ms.int32

    def probabilities(self, logits: Tensor) -> Tensor:
        """Return probabilities of the same shape."""
        return ops.softmax(logits, 1)

    def construct(self, scores: Tensor) -> Tensor:
        """Return what the tally counts: logits or sums of probabilities (n, K, ...) -> (n, ...)."""
        return ops.argmax(scores, 1).astype(self.dtype)


class Tally(Protocol):
    """Counts right and wrong answers; the sum over the ranks is one vector."""

    def add(self, predictions: Array, batch: Batch) -> None:
        """Count a batch."""

    def vector(self) -> Counts:
        """Return the counts of this rank."""

    def metrics(self, vector: Counts) -> dict[str, Any]:
        """Return the metrics of the counts of all ranks; ``kind`` is that of the task."""


class TaskLosses(nn.Cell):
    """The losses of all tasks, kind by kind.

    Args:
        tasks: The tasks, in the order of the network's answers.
        layout: What the batches are.
        weights: For every data set, the images of this rank over their mean over the ranks. So the
            mean over the ranks is the mean over all images, also where a share of the mixed batch
            cannot be dealt evenly.
        backend: Makes layers.
    """

    def __init__(
        self,
        tasks: Sequence[Task],
        layout: BatchLayout,
        weights: Sequence[float],
        backend: Backend,
    ) -> None:
        super().__init__(auto_prefix=False)
        weight_of = dict(zip(layout.datasets, weights, strict=True))
        groups = group_by_kind(tasks)
        self.of_kinds = tuple(
            kind.losses(
                [tasks[i] for i in positions],
                positions,
                [layout.inputs(tasks[i].dataset, tasks[i].label_space) for i in positions],
                [weight_of[tasks[i].dataset] for i in positions],
                backend,
            )
            for kind, positions in groups.items()
        )
        self.counts = any(losses.counts for losses in self.of_kinds)
        grouped = [i for positions in groups.values() for i in positions]
        order = [grouped.index(i) for i in range(len(tasks))]
        self.order = Tensor(np.array(order, np.int32)) if len(groups) > 1 else None
        self.concat = ops.Concat(0)

    def totals(self, batch: Sequence[Tensor]) -> Tensor:
        """Return what must be added up over the ranks before the losses, (K,)."""
        return self._in_order([losses.totals(batch) for losses in self.of_kinds])

    def construct(
        self, answers: Sequence[Tensor], batch: Sequence[Tensor], totals: Tensor
    ) -> Tensor:
        """Return the losses (K,) of this rank's images; see :class:`KindLosses`."""
        return self._in_order([losses(answers, batch, totals) for losses in self.of_kinds])

    def _in_order(self, parts: Sequence[Tensor]) -> Tensor:
        """Values kind by kind -> in the order of the tasks."""
        return parts[0] if self.order is None else ops.gather(self.concat(parts), self.order, 0)


def resolve_tasks(config: Config, sets: Sequence[RecordSet]) -> list[Task]:
    """Return the tasks of a configuration, compared with what their data sets hold.

    Raises:
        UserError: A data set has no labels of the kind that a task needs, or a class count
            disagrees.
    """
    by_name = {s.name: s for s in sets}
    tasks: list[Task] = []
    for name, options in config.tasks.items():
        record_set = by_name[config.dataset_of(name)]
        tasks.append(KINDS[options.kind].load().resolve(name, config, record_set))
    return tasks


def wanted_masks(tasks: Iterable[Task]) -> Mapping[str, tuple[str, ...]]:
    """Return the label spaces that are needed of every data set, each once."""
    wanted: dict[str, tuple[str, ...]] = {}
    for task in tasks:
        spaces, own = wanted.get(task.dataset, ()), task.label_space
        if own is not None and own not in spaces:
            wanted[task.dataset] = (*spaces, own)
    return wanted

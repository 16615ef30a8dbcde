"""Scene classification: one label per image.

Shapes: n = images of the task, K = its classes, N, C, H, W = images, channels, height and width of
a map.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn

from train.config.schema import Config
from train.data.batch import Array, Batch, BatchLayout, TaskInputs
from train.data.manifest import RecordSet
from train.model.backend import Backend
from train.tasks.base import Decision, KindLosses, Task
from train.tasks.labels import labels_of
from train.tasks.metrics import Confusion, classification_metrics, confusion_matrix


class ClassificationHead(nn.Cell):
    """Global average pooling of the last level and a linear layer."""

    def __init__(self, channels: int, num_classes: int, backend: Backend) -> None:
        super().__init__()
        self.pixels = (backend.height_axis, backend.height_axis + 1)
        self.linear = backend.linear(channels, num_classes)

    def construct(self, x: Tensor) -> Tensor:
        """Map of the last level -> logits (n, K)."""
        return self.linear(x.astype(ms.float32).mean(self.pixels))


class SceneAnswers(nn.Cell):
    """The logits of all scene tasks; see :class:`train.tasks.base.Task`."""

    def __init__(
        self, heads: Sequence[nn.Cell], positions: Sequence[int], backend: Backend
    ) -> None:
        super().__init__(auto_prefix=False)
        # In a tuple: no child, for its parameters belong to the task branches.
        self.heads = (backend.linear_heads(heads, positions),)

    def construct(
        self, levels: Sequence[Tensor], counts: Sequence[int], size: tuple[int, int]
    ) -> tuple[Tensor, ...]:
        """Return one tensor (n, K) per scene task."""
        answers: tuple[Tensor, ...] = self.heads[0](levels[-1], counts)
        return answers


class SceneLosses(KindLosses):
    """Cross-entropy with label smoothing, the mean over the images."""

    def __init__(
        self,
        tasks: Sequence["SceneTask"],
        positions: Sequence[int],
        inputs: Sequence[TaskInputs],
        weights: Sequence[float],
        backend: Backend,
    ) -> None:
        super().__init__(auto_prefix=False)
        self.positions = tuple(positions)
        # Of all tasks the labels; where images are mixed, of all tasks the partners and shares.
        self.groups = tuple(zip(*(i.scenes for i in inputs), strict=True))
        self.weights = Tensor(np.array(weights, np.float32))
        self.nothing = Tensor(np.zeros(len(tasks), np.float32))
        self.cross_entropies = backend.cross_entropies(tasks[0].label_smoothing)

    def totals(self, batch: Sequence[Tensor]) -> Tensor:
        """See the base class."""
        return self.nothing

    def construct(
        self, answers: Sequence[Tensor], batch: Sequence[Tensor], totals: Tensor
    ) -> Tensor:
        """See the base class."""
        logits = [answers[i] for i in self.positions]
        groups = [[batch[i] for i in group] for group in self.groups]
        return self.cross_entropies(logits, *groups) * self.weights


class SceneTally:
    """Adds up a confusion matrix.

    Args:
        classes: Class names.
        labels: Position of the labels in a batch.
    """

    def __init__(self, classes: Sequence[str], labels: int) -> None:
        self.classes = classes
        self.labels = labels
        self.matrix = np.zeros((len(classes),) * 2, np.int64)

    def add(self, predictions: Array, batch: Batch) -> None:
        """Count a batch with predictions (n,)."""
        self.matrix += confusion_matrix(batch[self.labels], predictions, len(self.classes))

    def vector(self) -> Confusion:
        """Return the counts of this rank, (K^2,)."""
        return self.matrix.ravel()

    def metrics(self, vector: Confusion) -> dict[str, Any]:
        """Return the metrics of the counts of all ranks."""
        return classification_metrics(vector.reshape(self.matrix.shape), self.classes)


@dataclass(frozen=True)
class SceneTask(Task):
    """A scene-classification task.

    Attributes:
        label_smoothing: Probability that is spread evenly over all classes.
    """

    kind = "scene"
    answers = SceneAnswers
    losses = SceneLosses
    decision = Decision

    label_smoothing: float = 0.0

    @classmethod
    def resolve(cls, name: str, config: Config, record_set: RecordSet) -> "SceneTask":
        """See the base class."""
        classes = labels_of(name, config, record_set).classes
        return cls(name, record_set.name, classes, config.loss.label_smoothing)

    def head(self, channels: Sequence[int], backend: Backend) -> nn.Cell:
        """See the base class."""
        return ClassificationHead(channels[-1], len(self.classes), backend)

    def tally(self, layout: BatchLayout, scene_classes: Sequence[str]) -> "SceneTally":
        """See the base class."""
        return SceneTally(self.classes, layout.inputs(self.dataset).scenes[0])

"""Exact evaluation over all ranks: confusion matrices are summed, metrics computed once.

Shapes: n_d = images of data set d in a batch, H, W = height and width, K = classes of a task.
"""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Tensor, mint, nn, ops

from train.data.evaluation_loader import Batch, EvaluationLoader
from train.data.pipeline import Array
from train.distributed.collectives import Collectives
from train.evaluation.metrics import Confusion, classification_metrics, confusion_matrix
from train.evaluation.pixel_metrics import PixelCounts, oracle_classes, segmentation_metrics
from train.step.graph_cache import GraphCache

Metrics = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class EvaluatedTask:
    """What evaluation has to know of a task.

    Attributes:
        name: Its name.
        dataset: Position of its data set.
        classes: Class names, in the order of the network's answers.
        mask: Position of its masks in the batch's group of masks; None for a scene task.
        scene_classes: Segmentation: scene classes of its data set, for the oracle.
    """

    name: str
    dataset: int
    classes: tuple[str, ...]
    mask: int | None = None
    scene_classes: tuple[str, ...] = ()


class PredictStep(nn.Cell):
    """The compiled forward pass: the most likely class of every image or pixel, for every task.

    Args:
        network: The network.
        flips: Whether to average the probabilities of an image and its three mirror images.
    """

    def __init__(self, network: nn.Cell, flips: bool) -> None:
        super().__init__(auto_prefix=False)
        self.network = network
        self.flips = flips
        self.concat = ops.Concat(0)

    def construct(self, *images: Tensor) -> tuple[Tensor, ...]:
        """The classes of all images.

        Args:
            images: One tensor per data set, uint8 (n_d, H, W, 3).

        Returns:
            One tensor per task: int32 (n_d,) of a scene task, uint8 (n_d, H, W) of a segmentation
            task.
        """
        if not self.flips:
            return tuple([_most_likely(logits) for logits in self.network(*images)])
        mirrored = [self._mirror(pixels) for pixels in images]
        return tuple([_most_likely(self._merge(logits)) for logits in self.network(*mirrored)])

    def _mirror(self, pixels: Tensor) -> Tensor:
        """(n_d, H, W, 3) -> (4 n_d, H, W, 3): as they are, left-right, up-down, both."""
        left_right, up_down = ops.flip(pixels, (2,)), ops.flip(pixels, (1,))
        return self.concat((pixels, left_right, up_down, ops.flip(pixels, (1, 2))))

    def _merge(self, logits: Tensor) -> Tensor:
        """Sums of the probabilities, mirrored back: (4 n_d, K[, H, W]) -> (n_d, K[, H, W])."""
        same, left_right, up_down, both = mint.split(ops.softmax(logits, 1), logits.shape[0] // 4)
        if logits.ndim == 4:
            left_right, up_down = ops.flip(left_right, (3,)), ops.flip(up_down, (2,))
            both = ops.flip(both, (2, 3))
        return same + left_right + up_down + both


def _most_likely(scores: Tensor) -> Tensor:
    # Masks have at most 255 classes, and a quarter of the bytes comes back from the device.
    return ops.argmax(scores, 1).astype(ms.uint8 if scores.ndim == 4 else ms.int32)


class SceneTally:
    """Adds up the confusion matrix of a scene task.

    Args:
        task: The task.
        num_datasets: Number of data sets in a batch.
    """

    def __init__(self, task: EvaluatedTask, num_datasets: int) -> None:
        self.classes = task.classes
        self.labels = num_datasets + task.dataset
        self.matrix = np.zeros((len(task.classes),) * 2, np.int64)

    def add(self, predictions: Array, batch: Batch) -> None:
        """Counts a batch with predictions (n_d,)."""
        self.matrix += confusion_matrix(batch[self.labels], predictions, len(self.classes))

    def vector(self) -> Confusion:
        """The counts of this rank, (K^2,)."""
        return self.matrix.ravel()

    def metrics(self, vector: Confusion) -> dict[str, Any]:
        """The metrics of the counts of all ranks."""
        return classification_metrics(vector.reshape(self.matrix.shape), self.classes)


class PixelTally:
    """Adds up the pixels of a segmentation task.

    Args:
        task: The task.
        num_datasets: Number of data sets in a batch.
        mask: Position of its masks in the batch's group of masks.
    """

    def __init__(self, task: EvaluatedTask, num_datasets: int, mask: int) -> None:
        self.classes = task.classes
        self.labels = num_datasets + task.dataset
        self.masks = 2 * num_datasets + mask
        self.oracle = oracle_classes(task.scene_classes, task.classes)
        self.counts = PixelCounts.zeros(len(task.classes))

    def add(self, predictions: Array, batch: Batch) -> None:
        """Counts a batch with predictions (n_d, H, W)."""
        painted = None if self.oracle is None else self.oracle[batch[self.labels]]
        self.counts.add(predictions, batch[self.masks], painted)

    def vector(self) -> Confusion:
        """The counts of this rank, (2 + 4 K^2,)."""
        return self.counts.vector()

    def metrics(self, vector: Confusion) -> dict[str, Any]:
        """The metrics of the counts of all ranks."""
        counts = PixelCounts.from_vector(vector, len(self.classes))
        return segmentation_metrics(counts, self.classes, self.oracle is not None)


class Evaluator:
    """Evaluates the network on a split of every data set.

    Args:
        network: The network; it is put into evaluation mode for the time of an evaluation.
        loader: The evaluation batches of this rank.
        tasks: The tasks, in the order of the network's answers.
        collectives: The other ranks.
        alive: Called after every batch.
        flips: See :class:`PredictStep`.
        graphs: Compiled graphs of runs like this one.
    """

    def __init__(
        self,
        network: nn.Cell,
        loader: EvaluationLoader,
        tasks: Sequence[EvaluatedTask],
        collectives: Collectives,
        alive: Callable[[], None],
        flips: bool,
        graphs: GraphCache,
    ) -> None:
        self.network = network
        self.loader = loader
        self.tasks = tasks
        self.collectives = collectives
        self.alive = alive
        self.predict = PredictStep(network, flips)
        self.graphs = graphs
        self.is_compiled = False

    def evaluate(self, split: str) -> Metrics:
        """Metrics of every task on a split, the same on all ranks. Changes nothing."""
        tallies = self._tallies()
        was_training = self.network.training
        self.network.set_train(False)
        self._count(split, tallies)
        self.network.set_train(was_training)
        vectors = [tally.vector() for tally in tallies]
        total = self.collectives.sum_counts(np.concatenate(vectors))
        parts = np.split(total, np.cumsum([len(vector) for vector in vectors])[:-1])
        return {
            task.name: tally.metrics(part)
            for task, tally, part in zip(self.tasks, tallies, parts, strict=True)
        }

    def _tallies(self) -> list[SceneTally | PixelTally]:
        num_datasets = len(self.loader.sets)
        return [
            SceneTally(task, num_datasets)
            if task.mask is None
            else PixelTally(task, num_datasets, task.mask)
            for task in self.tasks
        ]

    def _count(self, split: str, tallies: Sequence[SceneTally | PixelTally]) -> None:
        """Counts this rank's part of a split."""
        num_datasets = len(self.loader.sets)
        for batch in self.loader.batches(split):
            answers = self._predict([Tensor(images) for images in batch[:num_datasets]])
            for tally, answer in zip(tallies, answers, strict=True):
                tally.add(answer.asnumpy(), batch)
            self.alive()

    def _predict(self, images: Sequence[Tensor]) -> tuple[Tensor, ...]:
        known = contextlib.nullcontext() if self.is_compiled else self.graphs.compiling("predict")
        with known:
            answers: tuple[Tensor, ...] = self.predict(*images)
        self.is_compiled = True
        return answers

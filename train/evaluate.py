"""Exact evaluation over all ranks: confusion matrices are summed, metrics computed once."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from mindspore import Tensor, nn, ops

from train.collectives import Collectives
from train.data.evaluation import EvaluationLoader
from train.metrics import Confusion, classification_metrics, confusion_matrix
from train.model.mtln import MTLN

Metrics = dict[str, dict[str, Any]]


class PredictStep(nn.Cell):
    """The compiled forward pass: the most likely class of every image, for every task."""

    def __init__(self, network: MTLN) -> None:
        super().__init__(auto_prefix=False)
        self.network = network

    def construct(self, *images: Tensor) -> tuple[Tensor, ...]:
        """One uint8 tensor (n_d, H, W, 3) per data set -> int32 (n_d,) per task."""
        return tuple([ops.argmax(logits, -1) for logits in self.network(*images)])


class Evaluator:
    """Evaluates the network on a split of every data set.

    Args:
        network: The network; it is put into evaluation mode for the time of an evaluation.
        loader: The evaluation batches of this rank.
        classes: Task name -> class names, in the order of the network's answers.
        collectives: The other ranks.
        alive: Called after every batch.
    """

    def __init__(
        self,
        network: MTLN,
        loader: EvaluationLoader,
        classes: Mapping[str, Sequence[str]],
        collectives: Collectives,
        alive: Callable[[], None],
    ) -> None:
        self.network = network
        self.loader = loader
        self.classes = classes
        self.collectives = collectives
        self.alive = alive
        self.predict = PredictStep(network)

    def evaluate(self, split: str) -> Metrics:
        """Metrics of every task on a split, the same on all ranks. Changes nothing."""
        was_training = self.network.training
        self.network.set_train(False)
        matrices = self._count(split)
        self.network.set_train(was_training)
        return {
            task: classification_metrics(matrix, classes)
            for (task, classes), matrix in zip(self.classes.items(), matrices, strict=True)
        }

    def _count(self, split: str) -> list[Confusion]:
        """Confusion matrix of every task, over all ranks."""
        sizes = [len(c) for c in self.classes.values()]
        matrices = [np.zeros((n, n), np.int64) for n in sizes]
        num_datasets = len(self.loader.sets)
        for batch in self.loader.batches(split):
            predictions = self.predict(*(Tensor(images) for images in batch[:num_datasets]))
            for i, d in enumerate(self.network.dataset_of_task):
                labels = batch[num_datasets + d]
                matrices[i] += confusion_matrix(labels, predictions[i].asnumpy(), sizes[i])
            self.alive()
        total = self.collectives.sum_counts(np.concatenate([m.ravel() for m in matrices]))
        parts = np.split(total, np.cumsum([n * n for n in sizes])[:-1])
        return [part.reshape(n, n) for part, n in zip(parts, sizes, strict=True)]

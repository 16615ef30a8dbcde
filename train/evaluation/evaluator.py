"""Exact evaluation over all ranks: counts are added up, metrics computed once.

Shapes: n_d = images of data set d in a batch, H, W = height and width, K = classes of a task.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from mindspore import Tensor, nn

from train.data.batch import Batch
from train.data.loader import EvaluationLoader
from train.distributed.ascend import to_device
from train.distributed.collectives import Collectives
from train.evaluation.mirror_images import MirrorImages
from train.model.compiled_cell import CompiledCell
from train.step.graph_cache import GraphCache
from train.tasks.base import Task

Metrics = dict[str, dict[str, Any]]


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
        tasks: Sequence[Task],
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
        self.predict = PredictStep(network, tasks, flips)
        self.graphs = graphs
        self.is_compiled = False

    def evaluate(self, split: str) -> Metrics:
        """Return the metrics of every task on a split, the same on all ranks. Changes nothing."""
        scenes = {s.name: s.manifest.classes for s in self.loader.sets}
        tallies = [t.tally(self.loader.layout, scenes[t.dataset]) for t in self.tasks]
        was_training = self.network.training
        self.network.set_train(False)
        for answers, batch in self._answers(split):
            for tally, answer in zip(tallies, answers, strict=True):
                tally.add(answer.asnumpy(), batch)
            self.alive()
        self.network.set_train(was_training)
        vectors = [tally.vector() for tally in tallies]
        total = self.collectives.sum_counts(np.concatenate(vectors))
        parts = np.split(total, np.cumsum([len(vector) for vector in vectors])[:-1])
        return {
            task.name: tally.metrics(part)
            for task, tally, part in zip(self.tasks, tallies, parts, strict=True)
        }

    def _answers(self, split: str) -> Iterator[tuple[tuple[Tensor, ...], Batch]]:
        """Yield the answers of every batch, when the device has the next one to work on already."""
        # With the images, which the device may still be copying.
        waiting: list[tuple[tuple[Tensor, ...], Batch, list[Tensor]]] = []
        for batch in self.loader.batches(split):
            images = [Tensor(a) for a in self.loader.layout.images(batch)]
            waiting.append((self._predict(to_device(images)), batch, images))
            if len(waiting) == 2:
                answers, seen, _ = waiting.pop(0)
                yield answers, seen
        for answers, seen, _ in waiting:
            yield answers, seen

    def _predict(self, images: Sequence[Tensor]) -> tuple[Tensor, ...]:
        known = contextlib.nullcontext() if self.is_compiled else self.graphs.compiling("predict")
        with known:
            answers: tuple[Tensor, ...] = self.predict(*images)
        self.is_compiled = True
        return answers


class PredictStep(CompiledCell):
    """The compiled forward pass of an evaluation: the answers for every image of every task.

    Args:
        network: The network.
        tasks: The tasks, in the order of the network's answers.
        flips: Whether to average the probabilities of an image and its three mirror images.
    """

    def __init__(self, network: nn.Cell, tasks: Sequence[Task], flips: bool) -> None:
        super().__init__(auto_prefix=False)
        self.network = network
        self.decisions = tuple(task.decision() for task in tasks)
        self.mirrors = MirrorImages() if flips else None

    def construct(self, *images: Tensor) -> tuple[Tensor, ...]:
        """One uint8 tensor (n_d, H, W, 3) per data set -> the answers, one tensor per task."""
        mirrors = self.mirrors
        if mirrors is not None:
            images = tuple([mirrors.make(pixels) for pixels in images])
        answers: tuple[Tensor, ...] = ()
        for logits, decide in zip(self.network(*images), self.decisions):  # noqa: B905
            scores = logits if mirrors is None else mirrors.merge(decide.probabilities(logits))
            answers = (*answers, decide(scores))
        return answers

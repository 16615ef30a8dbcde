"""Exact evaluation over all ranks: counts are added up, metrics computed once."""

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from mindspore import Tensor, nn

from train.data.evaluation_loader import EvaluationLoader
from train.distributed.collectives import Collectives
from train.evaluation.predict_step import PredictStep
from train.step.graph_cache import GraphCache
from train.tasks.base import Tally, Task

Metrics = dict[str, dict[str, Any]]


class Evaluator:
    """Evaluates the network on a split of every data set.

    Args:
        network: The network; it is put into evaluation mode for the time of an evaluation.
        loader: The evaluation batches of this rank.
        tasks: The tasks, in the order of the network's answers.
        collectives: The other ranks.
        alive: Called after every batch.
        flips: See :class:`train.evaluation.predict_step.PredictStep`.
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
        self._count(split, tallies)
        self.network.set_train(was_training)
        vectors = [tally.vector() for tally in tallies]
        total = self.collectives.sum_counts(np.concatenate(vectors))
        parts = np.split(total, np.cumsum([len(vector) for vector in vectors])[:-1])
        return {
            task.name: tally.metrics(part)
            for task, tally, part in zip(self.tasks, tallies, parts, strict=True)
        }

    def _count(self, split: str, tallies: Sequence[Tally]) -> None:
        """Count this rank's part of a split."""
        for batch in self.loader.batches(split):
            answers = self._predict([Tensor(a) for a in self.loader.layout.images(batch)])
            for tally, answer in zip(tallies, answers, strict=True):
                tally.add(answer.asnumpy(), batch)
            self.alive()

    def _predict(self, images: Sequence[Tensor]) -> tuple[Tensor, ...]:
        known = contextlib.nullcontext() if self.is_compiled else self.graphs.compiling("predict")
        with known:
            answers: tuple[Tensor, ...] = self.predict(*images)
        self.is_compiled = True
        return answers

"""What is noted of the answers of a task, batch by batch.

Importing this module imports MindSpore.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from tools.report.looks import EXAMPLES, Floats, Look, Mistake, Painted
from tools.report.statistics import Matrix, evenly
from train.data.manifest import MaskSpace, RecordSet
from train.data.pipeline import Columns
from train.data.records import IGNORE_INDEX
from train.tasks.base import Task
from train.tasks.metrics import confusion_matrix


class SceneTally:
    """Of a scene task: every mistake, and how sure the network was."""

    def __init__(self, task: Task, numbers: Sequence[int]) -> None:
        self.task = task
        self._numbers = iter(numbers)
        self._matrix = np.zeros((len(task.classes),) * 2, np.int64)
        self._mistakes: list[Mistake] = []

    def add(self, answers: Floats, batch: Columns) -> None:
        """Count the probabilities of a batch."""
        labels, answered = batch[1], answers.argmax(1)
        self._matrix += confusion_matrix(labels, answered, len(self.task.classes))
        for number, true, own, scores in zip(
            itertools.islice(self._numbers, len(labels)), labels, answered, answers, strict=True
        ):
            if true not in (own, -1):
                self._mistakes.append(Mistake(number, int(true), int(own), float(scores[own])))

    def look(self) -> Look:
        """Return what was seen."""
        mistakes = sorted(self._mistakes, key=lambda m: (-m.probability, m.number))
        return Look(self.task, self._matrix, mistakes)


class PixelTally:
    """Of a segmentation task: a confusion matrix of every image, and some images."""

    def __init__(
        self, task: Task, numbers: Sequence[int], masks: Sequence[str], space: MaskSpace
    ) -> None:
        self.task = task
        self._numbers = iter(numbers)
        self._spread = {numbers[i] for i in evenly(len(numbers), EXAMPLES)}
        self._column = 2 + list(masks).index(str(task.label_space))
        self._space = space
        self._matrices: list[Matrix] = []
        self._others: list[Painted] = []
        self._worst: list[Painted] = []

    def add(self, answers: Floats, batch: Columns) -> None:
        """Count the probabilities of a batch."""
        masks, answered = batch[self._column], answers.argmax(1).astype(np.uint8)
        for number, mask, own in zip(
            itertools.islice(self._numbers, len(masks)), masks, answered, strict=True
        ):
            valid = mask != IGNORE_INDEX
            matrix = confusion_matrix(mask[valid], own[valid], len(self.task.classes))
            self._matrices.append(matrix)
            right = np.trace(matrix) / max(1, matrix.sum())
            painted = Painted(number, mask, own, float(right))
            if number in self._spread:
                self._others.append(painted)
            elif valid.any():
                worst = sorted([*self._worst, painted], key=lambda p: (p.right, p.number))
                self._worst = worst[:EXAMPLES]

    def look(self) -> Look:
        """Return what was seen."""
        matrices = np.array(self._matrices)
        painted = [*self._worst, *self._others]
        return Look(self.task, matrices.sum(0), [], matrices, painted, self._space)


def tally_of(
    task: Task, sets: Sequence[RecordSet], numbers: Sequence[int], masks: Sequence[str]
) -> SceneTally | PixelTally:
    """Return what looks at the answers of a task.

    Args:
        task: The task.
        sets: The data sets.
        numbers: Of the records that are looked at, in their order.
        masks: The label spaces whose masks come with the images.
    """
    if task.label_space is None:
        return SceneTally(task, numbers)
    [record_set] = [s for s in sets if s.name == task.dataset]
    return PixelTally(task, numbers, masks, record_set.manifest.masks[task.label_space])

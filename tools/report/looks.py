"""What was seen of the pictures of a run: its mistakes, and where its tasks look.

Shapes: n = images, K = classes of a task, H, W = height and width that the network sees, S = that
of pictures on the page.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from tools.report.markup import Pixels
from tools.report.statistics import Matrix, confused_pairs
from train.data.manifest import MaskSpace

if TYPE_CHECKING:
    from train.tasks.base import Task

SIDE = 144
MOST_MISTAKES = 12
PER_PAIR = 3
EXAMPLES = 3
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Mistake:
    """A picture that got a wrong answer.

    Attributes:
        number: Of its record in the split.
        true, answered: Positions of the classes.
        probability: Of the answer, 0..1.
    """

    number: int
    true: int
    answered: int
    probability: float


@dataclass(frozen=True)
class Painted:
    """A picture with its mask and the answer.

    Attributes:
        number: Of its record in the split.
        truth, answer: Classes, (H, W).
        right: Share of the labelled pixels that are right.
    """

    number: int
    truth: Pixels
    answer: Pixels
    right: float


@dataclass(frozen=True)
class Look:
    """What was seen of a task.

    Attributes:
        task: The task.
        matrix: Confusion matrix of what was looked at, (K, K).
        mistakes: Of a scene task: all of them, the most probable answers first.
        matrices: Of a segmentation task: confusion matrix of every image, (n, K, K).
        painted: Of a segmentation task: the worst ones, then others spread over the split.
        space: Of a segmentation task: its label space.
    """

    task: Task
    matrix: Matrix
    mistakes: list[Mistake] = field(default_factory=list)
    matrices: Matrix | None = None
    painted: list[Painted] = field(default_factory=list)
    space: MaskSpace | None = None

    def shown(self) -> list[Mistake]:
        """Return the mistakes that are shown, some of them as examples of pairs."""
        chosen = self.mistakes[:MOST_MISTAKES]
        for pair in confused_pairs(self.matrix):
            chosen += self.of_pair(pair.true, pair.answered)
        return chosen

    def of_pair(self, true: int, answered: int) -> list[Mistake]:
        """Return examples of a class that was taken for another."""
        found = [m for m in self.mistakes if (m.true, m.answered) == (true, answered)]
        return found[:PER_PAIR]


@dataclass(frozen=True)
class Original:
    """A picture as it is stored, and the name of its record; uint8 (S, S, 3)."""

    key: str
    pixels: Pixels


@dataclass(frozen=True)
class Attended:
    """Where all tasks look at in one picture.

    Attributes:
        dataset: Its data set.
        number: Of its record in the split.
        maps: For every task, of every level, (H_l, W_l) in 0..1.
    """

    dataset: str
    number: int
    maps: list[list[Floats]]


@dataclass(frozen=True)
class Looks:
    """What was seen of all tasks of a run.

    Attributes:
        split: The split that was looked at, by data set.
        looked_at: How many of its records, and how many there are, by data set.
        step: Of the checkpoint that was asked.
        tasks: By name.
        attention: Pictures of all data sets; empty for a network without attention.
        originals: Pictures to show, by data set and number.
    """

    split: dict[str, str]
    looked_at: dict[str, tuple[int, int]]
    step: int
    tasks: dict[str, Look]
    attention: list[Attended]
    originals: dict[tuple[str, int], Original]

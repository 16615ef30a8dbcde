"""What training steps gave, read from the vectors that they return.

Shapes: K = number of tasks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from train.optim.vectors import Floats


@dataclass(frozen=True)
class StepResults:
    """Means over some steps in a row, without those that were skipped.

    Where all were skipped, the means are NaN.

    Attributes:
        losses: Loss of every task over the images of all ranks, K numbers.
        weights: Weight of every task's loss, K numbers.
        gradient_norm: Norm of the gradient before clipping.
        updates: Number of steps that updated the parameters.
        skipped: Number of steps whose gradient was not finite.
    """

    losses: list[float]
    weights: list[float]
    gradient_norm: float
    updates: int
    skipped: int

    @classmethod
    def of(cls, vectors: Sequence[Floats]) -> StepResults:
        """Read the results of at least one step.

        Args:
            vectors: What :class:`train.step.train_step.TrainStep` returned for every step,
                (2 K + 2,): losses, weights, gradient norm, and 1 if the update was made or 0 if it
                was skipped.
        """
        rows = np.stack(vectors)
        updates = rows[rows[:, -1] == 1]  # losses and norm of a skipped step are no numbers
        mean = updates.mean(axis=0) if len(updates) else np.full(rows.shape[1], np.nan)
        *by_task, norm, _ = mean.tolist()
        num_tasks = len(by_task) // 2
        skipped = len(rows) - len(updates)
        return cls(by_task[:num_tasks], by_task[num_tasks:], norm, len(updates), skipped)

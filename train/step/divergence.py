"""What becomes of a run whose gradients are no longer finite: it is told where, and ends in time.

A step that is skipped leaves everything as it was, so the last one of them can be made again, on
every rank by itself, to see whose losses and gradients are not finite.

Shapes: K = number of tasks, n = number of trainable parameters.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from mindspore import Tensor, nn

from train.distributed.collectives import Collectives, Counts
from train.step.train_step import StepResults, TrainStep

# So many steps in a row that were skipped are no bad luck. A loss scale may take some more to come
# down to what the gradients allow.
MOST_SKIPPED = 20
# From so many on, the update before them has probably spoilt the model.
DOUBTFUL = 3


class SkippedSteps:
    """Counts the steps that were skipped in a row.

    Attributes:
        since_update: Steps since the last update, up to the last step that was looked at.
        in_a_row: Those of them for which no loss scale that is too large can be blamed.
        total: Steps that the run has skipped.
    """

    def __init__(self) -> None:
        self.since_update = 0
        self.in_a_row = 0
        self.total = 0

    def to_state(self) -> dict[str, int]:
        """Return what a checkpoint keeps of it, as plain values."""
        return {"skipped_steps": self.total}

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from what :meth:`to_state` gave, among other values."""
        self.total = state.get("skipped_steps", 0)

    def count(self, results: StepResults, loss_scale: float | None) -> None:
        """Take note of the next steps."""
        self.total += results.skipped
        if results.updates:
            self.since_update = self.in_a_row = 0
        self.since_update += results.skipped_since_update
        if loss_scale is None or loss_scale == 1:
            self.in_a_row += results.skipped_since_update

    @property
    def diverged(self) -> bool:
        """Whether there is no point in going on."""
        return self.in_a_row >= MOST_SKIPPED

    @property
    def doubtful(self) -> bool:
        """Whether the model is unlikely to be any good."""
        return self.in_a_row >= DOUBTFUL

    def forbid_saving(self, must: bool) -> bool:
        """Return whether a checkpoint has to wait: it might push out a better one.

        Args:
            must: Whether this is the last chance.
        """
        return self.doubtful if must else self.since_update > 0


class Diagnosis:
    """Finds the ranks, tasks and parameters with which a step goes wrong.

    Args:
        step: The training step.
        tasks: Names of the tasks.
        collectives: The other ranks.
        rank: This rank.
    """

    def __init__(
        self, step: TrainStep, tasks: Sequence[str], collectives: Collectives, rank: int
    ) -> None:
        self._local = _LocalGradients(step)
        self._names = [p.name for p in step.parameters]
        self._tasks = list(tasks)
        self._collectives = collectives
        self._rank = rank

    def of(self, batch: Sequence[Tensor]) -> dict[int, str]:
        """Make the step of this batch again, without an update; all ranks call it together.

        Returns:
            What is not finite, by rank; nothing of a rank where all is.
        """
        losses, gradients = self._local(*batch)
        bad = [not np.isfinite(values.asnumpy()).all() for values in (*losses, *gradients)]
        table = np.zeros((self._collectives.world_size, len(bad)), np.int64)
        table[self._rank] = bad
        table = self._collectives.sum_counts(table)
        return {rank: self._told(row) for rank, row in enumerate(table) if row.any()}

    def _told(self, row: Counts) -> str:
        """Say which losses (K,) and gradients (n,) of a rank are not finite."""
        count = len(self._tasks)
        tasks = [name for name, bad in zip(self._tasks, row, strict=False) if bad]
        names = [name for name, bad in zip(self._names, row[count:], strict=True) if bad]
        parts = [f"the loss of {', '.join(tasks)}"] if tasks else []
        if len(names) == len(self._names):
            parts.append("all gradients")
        elif names:
            more = f" and {len(names) - 1} more" if names[1:] else ""
            parts.append(f"the gradient of {names[0]}{more}")
        return " and ".join(parts)


class _LocalGradients(nn.Cell):
    """Losses and gradients of one rank, before they are reduced."""

    def __init__(self, step: TrainStep) -> None:
        super().__init__(auto_prefix=False)
        self.step = step

    def construct(self, *batch: Tensor) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """Batch -> K losses, n gradients, as they are with a loss scale of 1."""
        step = self.step
        totals = step.totals(batch)
        (_, losses, _), gradients = step.losses_and_gradients(batch, totals, step.one)
        return losses, gradients

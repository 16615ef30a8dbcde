"""One training step as one compiled Cell: forward, losses, gradient, reduction, clip, update.

Shapes: K = number of tasks, S = values of the shared branch, T = values of the task branches,
P = S + T. The flat vectors hold the shared branch first.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from mindspore import ParameterTuple, Tensor, nn, ops

from train.config.sections import BYTES
from train.model.compiled_cell import CompiledCell
from train.model.layers import split
from train.model.mtln import MTLN, moving_statistics, split_by_branch
from train.optim.loss_balance import Balance
from train.optim.loss_scale import LossScale
from train.optim.optimizers import FlatOptimizer, Floats
from train.step.reduction import Exchange, Reduction
from train.tasks.base import TaskLosses


@dataclass(frozen=True)
class StepOptions:
    """What a training step does with the gradient.

    Attributes:
        local_branches: Whether the task branches are updated with their own gradient only.
        clip_norm: Largest global norm of the gradient; 0 for no limit.
        loss_scale: What the loss is multiplied by for the time of the gradient; None for nothing.
        frozen_trunk: Whether the trunk stays as it is, with its statistics.
    """

    local_branches: bool = True
    clip_norm: float = 0.0
    loss_scale: LossScale | None = None
    frozen_trunk: bool = False


class TrainStep(CompiledCell):
    """Runs one mixed batch through the network and updates its parameters.

    The reduced message is [shared gradient | task gradients, if they are reduced too | tail]; it
    may travel in parts (see :class:`train.step.reduction.Reduction`). The tail holds the K losses
    and, where the task branches stay local, their squared gradient norm: so the norm that clips the
    gradient, and the decision to skip a step that is not finite, are the same on all ranks without
    a second message. Only what must be known before the gradient goes on its own, a few numbers
    each: what some kinds of tasks count over all ranks (segmentation the pixels that have a class),
    and the losses, for a balance that depends on them.

    Args:
        network: The network, with ``shared.*`` and ``tasks.*`` parameters.
        task_losses: The losses of its tasks.
        optimizer: Over all P values, shared first.
        balance: The weights of the task losses.
        exchange: What connects the ranks.
        options: What is done with the gradient.
    """

    def __init__(
        self,
        network: MTLN,
        task_losses: TaskLosses,
        optimizer: FlatOptimizer,
        balance: Balance,
        exchange: Exchange,
        options: StepOptions,
    ) -> None:
        super().__init__(auto_prefix=False)
        self.network = network
        self.task_losses = task_losses
        self.balance = balance
        self.loss_scale = options.loss_scale
        self.saturates = options.loss_scale is not None and options.loss_scale.saturates
        self.world_size = exchange.world_size
        self.local_branches = options.local_branches
        self.clip_norm = options.clip_norm
        shared, branches = split_by_branch(network)
        self.parameters = ParameterTuple(shared + branches)
        self.num_shared: int = sum(p.size for p in shared)
        self.num_values: int = self.num_shared + sum(p.size for p in branches)
        self.num_tasks = len(network.dataset_of_task)
        self.num_datasets = max(network.dataset_of_task) + 1
        self.tail_sizes = (self.num_tasks, 1) if self.local_branches else (self.num_tasks,)
        self.num_reduced = len(shared) if self.local_branches else len(self.parameters)
        self.no_totals = Tensor(np.zeros(self.num_tasks, np.float32))
        self.losses_and_gradients = ops.value_and_grad(
            self.weighted_losses, None, self.parameters, has_aux=True
        )
        self.flatten = network.backend.flatten()
        sizes = [p.size for p in self.parameters[: self.num_reduced]]
        self.reduction = Reduction(exchange, sizes, sum(self.tail_sizes), self.flatten)
        self.frozen_trunk = options.frozen_trunk
        self.update = network.backend.update(optimizer, self.parameters, options.frozen_trunk)
        statistics = moving_statistics(network)
        self.statistics = ParameterTuple(statistics)
        self.has_statistics = bool(statistics)
        self.restore = network.backend.restore(statistics) if statistics else nn.Identity()
        self.depend = ops.Depend()
        self.one = Tensor(np.float32(1.0))
        self.concat = ops.Concat(0)

    @property
    def bytes_reduced(self) -> int:
        """Return the bytes of the messages that every rank reduces in a step; 0 with one rank."""
        if self.reduction.all_reduce is None:
            return 0
        own = sum(
            (self.task_losses.counts, self.balance.needs_losses, self.balance.needs_losses_after)
        )
        return self.reduction.message_bytes + own * self.num_tasks * BYTES["float32"]

    def construct(self, rate: Tensor, *batch: Tensor) -> Tensor:
        """Make one update; a step that is skipped leaves all that is learned as it was.

        Args:
            rate: Learning rate, scalar.
            batch: The mixed batch, see :class:`train.data.batch.BatchLayout`.

        Returns:
            (2 K + 2,): mean loss of every task over all ranks, its weight, norm of the gradient
            before clipping, and 1 if the update was made or 0 if it was skipped.
        """
        if self.has_statistics:
            kept = self.flatten(self.statistics)
            batch = self.depend(batch, kept)  # the forward pass is what moves them
        totals = self.totals(batch)
        scale = self.one if self.loss_scale is None else self.loss_scale()
        (_, losses, weights), gradients = self.losses_and_gradients(batch, totals, scale)
        if self.loss_scale is not None and self.saturates:
            # Goes to all ranks with the losses.
            losses = losses + self.loss_scale.overflow(gradients)
        gradient, losses, norm = self._reduce(gradients, losses)
        if self.loss_scale is not None:
            norm = norm / scale
        finite = ops.isfinite(norm)
        if self.saturates:
            finite = ops.logical_and(finite, ops.isfinite(losses).all())
        factor = self.one
        if self.clip_norm > 0:
            factor = ops.minimum(self.clip_norm / (norm + 1e-6), 1.0)
        if self.loss_scale is not None:
            # The scale is a power of two: to divide the gradient by it now is to have divided it
            # before it was clipped, but with one pass over memory less.
            factor = factor / scale
        self.update(gradient, factor, finite, rate)
        after = losses
        if self.balance.needs_losses_after:
            after = self.reduction.average(self.losses(batch, totals))
        if self.has_statistics:
            self.restore(self.depend(kept, after), finite)
        if self.balance.is_learned:
            self.balance.update(losses, after, finite)
        if self.loss_scale is not None:
            self.loss_scale.update(finite)
        flag = finite.astype(losses.dtype).reshape((1,))
        return self.concat((losses, weights, norm.reshape((1,)), flag))

    def weighted_losses(
        self, batch: Sequence[Tensor], totals: Tensor, scale: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return (scaled weighted sum of the losses, losses (K,), weights (K,)) of this rank."""
        losses = self.losses(batch, totals)
        known = ops.stop_gradient(losses)
        if self.balance.needs_losses:
            known = self.reduction.average(known)
        weights = ops.stop_gradient(self.balance(known))
        total = (weights * losses).sum()
        if self.loss_scale is not None:
            total = total * scale
        return total, losses, weights

    def losses(self, batch: Sequence[Tensor], totals: Tensor) -> Tensor:
        """Return the losses (K,) of this rank's images; their mean over the ranks is that of all.

        Args:
            batch: See :meth:`construct`.
            totals: (K,), see :class:`train.tasks.base.KindLosses`.
        """
        answers = self.network(*batch[: self.num_datasets])
        return self.task_losses(answers, batch, totals)

    def totals(self, batch: Sequence[Tensor]) -> Tensor:
        """Return for every task (K,) what is counted over all ranks, over the number of ranks."""
        if not self.task_losses.counts:
            return self.no_totals
        # At least one, so that nothing is divided by zero where nothing is counted.
        totals = self.reduction.average(self.task_losses.totals(batch))
        return ops.maximum(totals, 1.0 / self.world_size)

    def _reduce(self, gradients: Sequence[Tensor], losses: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return averages over the ranks: (gradient (P,), losses (K,), norm of the gradient).

        With a loss scale, gradients and norm are scaled. Squares of theirs stay far below what
        float32 holds; one that did not would be a gradient that is not finite, and halve the scale.
        """
        if not self.local_branches:
            gradient, losses = self.reduction(gradients, losses)
            return gradient, losses, ops.sqrt(ops.square(gradient).sum())
        branches = self.flatten(gradients[self.num_reduced :])
        square = ops.square(branches).sum().reshape((1,))
        tail = self.concat((losses, square))
        shared, tail = self.reduction(gradients[: self.num_reduced], tail)
        losses, square = split(tail, self.tail_sizes)
        norm = ops.sqrt(ops.square(shared).sum() + square[0])
        return self.concat((shared, branches)), losses, norm


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
        skipped_since_update: How many of them came after the last update.
    """

    losses: list[float]
    weights: list[float]
    gradient_norm: float
    updates: int
    skipped: int
    skipped_since_update: int

    @classmethod
    def of(cls, vectors: Sequence[Floats]) -> "StepResults":
        """Read the results of at least one step.

        Args:
            vectors: What :class:`TrainStep` returned for every step,
                (2 K + 2,): losses, weights, gradient norm, and 1 if the update was made or 0 if it
                was skipped.
        """
        rows = np.stack(vectors)
        updates = rows[rows[:, -1] == 1]  # losses and norm of a skipped step are no numbers
        mean = updates.mean(axis=0) if len(updates) else np.full(rows.shape[1], np.nan)
        *by_task, norm, _ = mean.tolist()
        num_tasks = len(by_task) // 2
        made = np.flatnonzero(rows[:, -1] == 1)
        skipped = len(rows) - len(made)
        since = len(rows) - 1 - int(made[-1]) if len(made) else skipped
        return cls(by_task[:num_tasks], by_task[num_tasks:], norm, len(made), skipped, since)

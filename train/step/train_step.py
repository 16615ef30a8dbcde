"""One training step as one compiled Cell: forward, losses, gradient, reduction, clip, update.

Shapes: K = number of tasks, D = of data sets, S = values of the shared branch, T = values of the
task branches, P = S + T. The flat vectors hold the shared branch first.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import mindspore as ms
import numpy as np
from mindspore import Parameter, ParameterTuple, Tensor, mint, nn, ops

from train.config.precision import BYTES
from train.model.mtln import MTLN, is_shared
from train.optim.loss_balance import Balance
from train.optim.loss_scale import LossScale
from train.optim.optimizers import FlatOptimizer
from train.step.reduction import Exchange, Reduction
from train.tasks.losses import (
    dice,
    has_class,
    pixel_cross_entropy,
    pixel_targets,
)


def split_by_branch(network: nn.Cell) -> tuple[list[Parameter], list[Parameter]]:
    """The trainable parameters: (of the shared branch, of the task branches)."""
    trainable = network.trainable_params()
    shared = [p for p in trainable if is_shared(p.name)]
    return shared, [p for p in trainable if not is_shared(p.name)]


@dataclass(frozen=True)
class BatchLayout:
    """What the tensors of a mixed batch are, and what each task finds where.

    Attributes:
        weights: For every data set, the images of this rank over their mean over the ranks. So the
            mean over the ranks is the mean over all images, also where a share of the mixed batch
            cannot be dealt evenly.
        masks: For every task, the position of its masks among those of the batch; None for a scene
            task.
        mixed: Whether images are mixed with each other (MixUp, CutMix), so that batches hold the
            labels of two.
    """

    weights: Sequence[float]
    masks: Sequence[int | None]
    mixed: bool = False


class TrainStep(nn.Cell):
    """Runs one mixed batch through the network and updates its parameters.

    The reduced message is [shared gradient | task gradients, if they are reduced too | tail]; it
    may travel in parts (see :class:`train.step.reduction.Reduction`). The tail holds the K losses
    and, where the task branches stay local, their squared gradient norm: so the norm that clips the
    gradient, and the decision to skip a step that is not finite, are the same on all ranks without
    a second message. Only what must be known before the gradient goes on its own, a few numbers
    each: how many pixels of all ranks have a class, for segmentation tasks, and the losses, for a
    balance that depends on them.

    Args:
        network: The network, with ``shared.*`` and ``tasks.*`` parameters.
        optimizer: Over all P values, shared first.
        balance: The weights of the task losses.
        exchange: What connects the ranks.
        layout: What the batches are.
        local_branches: Whether the task branches are updated with their own gradient only.
        label_smoothing: See :func:`train.tasks.losses.smoothed`.
        dice_weight: Weight of the Dice loss of segmentation tasks.
        clip_norm: Largest global norm of the gradient; 0 for no limit.
        loss_scale: What the loss is multiplied by for the time of the gradient; None for nothing.
    """

    def __init__(
        self,
        network: MTLN,
        optimizer: FlatOptimizer,
        balance: Balance,
        exchange: Exchange,
        layout: BatchLayout,
        local_branches: bool,
        label_smoothing: float,
        dice_weight: float,
        clip_norm: float,
        loss_scale: LossScale | None = None,
    ) -> None:
        super().__init__(auto_prefix=False)
        self.network = network
        self.balance = balance
        self.loss_scale = loss_scale
        self.world_size = exchange.world_size
        self.local_branches = local_branches
        self.dice_weight = dice_weight
        self.clip_norm = clip_norm
        shared, branches = split_by_branch(network)
        self.parameters = ParameterTuple(shared + branches)
        self.num_shared: int = sum(p.size for p in shared)
        self.num_values: int = self.num_shared + sum(p.size for p in branches)
        self.dataset_of_task = network.dataset_of_task
        self.num_tasks = len(self.dataset_of_task)
        self.tail_sizes = (self.num_tasks, 1) if local_branches else (self.num_tasks,)
        self.num_reduced = len(shared) if local_branches else len(self.parameters)
        self.num_datasets = max(self.dataset_of_task) + 1
        self.weight_of_task = tuple(layout.weights[d] for d in self.dataset_of_task)
        self.scene_weights = Tensor(
            np.array([self.weight_of_task[i] for i in network.scene_tasks], np.float32)
        )
        self.dataset_of_scenes = tuple(self.dataset_of_task[i] for i in network.scene_tasks)
        # Labels; if images are mixed, also those of their partners, and the shares of their own.
        self.label_kinds = 3 if layout.mixed else 1
        before = self.num_datasets * (1 + self.label_kinds)
        # For every task, the position of its masks in a batch.
        self.masks = tuple(None if m is None else before + m for m in layout.masks)
        self.order = Tensor(network.order, ms.int32)
        self.segments = any(mask is not None for mask in self.masks)
        self.no_pixels = Tensor(np.zeros(self.num_tasks, np.float32))
        self.losses_and_gradients = ops.value_and_grad(
            self.weighted_losses, None, self.parameters, has_aux=True
        )
        self.cross_entropies = network.layers.cross_entropies(label_smoothing)
        self.flatten = network.layers.flatten()
        sizes = [p.size for p in self.parameters[: self.num_reduced]]
        self.reduction = Reduction(exchange, sizes, sum(self.tail_sizes), self.flatten)
        self.update = network.layers.update(optimizer, self.parameters)
        self.one = Tensor(np.float32(1.0))
        self.concat = ops.Concat(0)

    @property
    def bytes_reduced(self) -> int:
        """Bytes of the messages that every rank reduces in a step; 0 with one rank."""
        if self.reduction.all_reduce is None:
            return 0
        own = sum((self.segments, self.balance.needs_losses, self.balance.looks_again))
        return self.reduction.message_bytes + own * self.num_tasks * BYTES["float32"]

    def construct(self, rate: Tensor, number: Tensor, *batch: Tensor) -> Tensor:
        """One update.

        Args:
            rate: Learning rate, scalar.
            number: Number of this update, from 1, scalar float.
            batch: The images of every data set, uint8 (n_d, H, W, 3), then their labels,
                int32 (n_d,); if they are mixed, also the labels of their partners, int32 (n_d,),
                and the share of each image's own label, float32 (n_d,); then masks, uint8
                (n_d, H, W).

        Returns:
            (2 K + 2,): mean loss of every task over all ranks, its weight, norm of the gradient
            before clipping, and 1 if the update was made or 0 if it was skipped.
        """
        pixels = self._pixels(batch)
        scale = self.one if self.loss_scale is None else self.loss_scale()
        (_, losses, weights), gradients = self.losses_and_gradients(batch, pixels, scale)
        gradient, losses, norm = self._reduce(gradients, losses)
        if self.loss_scale is not None:
            norm = norm / scale
        finite = ops.isfinite(norm)
        factor = self.one
        if self.clip_norm > 0:
            factor = ops.minimum(self.clip_norm / (norm + 1e-6), 1.0)
        if self.loss_scale is not None:
            # The scale is a power of two: to divide the gradient by it now is to have divided it
            # before it was clipped, but with one pass over memory less.
            factor = factor / scale
        self.update(gradient, factor, finite, rate, number)
        after = losses
        if self.balance.looks_again:
            after = self.reduction.average(self.losses(batch, pixels))
        if self.balance.learns:
            self.balance.learn(losses, after, finite)
        if self.loss_scale is not None:
            self.loss_scale.learn(finite)
        flag = finite.astype(losses.dtype).reshape((1,))
        return self.concat((losses, weights, norm.reshape((1,)), flag))

    def weighted_losses(
        self, batch: Sequence[Tensor], pixels: Tensor, scale: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """(Scaled weighted sum of the losses, losses (K,), weights (K,)) of this rank's images."""
        losses = self.losses(batch, pixels)
        known = ops.stop_gradient(losses)
        if self.balance.needs_losses:
            known = self.reduction.average(known)
        weights = ops.stop_gradient(self.balance(known))
        total = (weights * losses).sum()
        if self.loss_scale is not None:
            total = total * scale
        return total, losses, weights

    def losses(self, batch: Sequence[Tensor], pixels: Tensor) -> Tensor:
        """Losses (K,) of this rank's images; their mean over the ranks is that of all images.

        Args:
            batch: See :meth:`construct`.
            pixels: For every task (K,), the pixels of all ranks that have a class over the number
                of ranks; not looked at for scene tasks.
        """
        answers = self.network(*batch[: self.num_datasets])
        losses = []
        if self.network.scene_tasks:
            losses.append(self._scene_losses(answers, batch))
        for i, mask in enumerate(self.masks):
            if mask is not None:
                loss = self._pixel_loss(i, answers[i], batch[mask], pixels[i])
                losses.append(loss.reshape((1,)))
        if len(losses) == 1:
            return losses[0]
        return ops.gather(self.concat(losses), self.order, 0)

    def _scene_losses(self, answers: Sequence[Tensor], batch: Sequence[Tensor]) -> Tensor:
        """Losses of all scene tasks."""
        logits = [answers[i] for i in self.network.scene_tasks]
        kinds = []
        for kind in range(1, 1 + self.label_kinds):
            of_datasets = batch[kind * self.num_datasets : (kind + 1) * self.num_datasets]
            kinds.append([of_datasets[d] for d in self.dataset_of_scenes])
        return self.cross_entropies(logits, *kinds) * self.scene_weights

    def _pixel_loss(self, task: int, logits: Tensor, mask: Tensor, pixels: Tensor) -> Tensor:
        """Loss of a segmentation task, scalar; ``pixels`` is that task's."""
        targets = pixel_targets(mask, logits.shape[1])
        loss = pixel_cross_entropy(logits, targets) / pixels
        if self.dice_weight > 0:
            loss = loss + self.dice_weight * dice(logits, targets) * self.weight_of_task[task]
        return loss

    def _pixels(self, batch: Sequence[Tensor]) -> Tensor:
        """For every task (K,), the pixels of all ranks with a class over the number of ranks."""
        if not self.segments:
            return self.no_pixels
        counts = []
        for i, mask in enumerate(self.masks):
            counts.append(self.no_pixels[i] if mask is None else has_class(batch[mask]).sum())
        # At least one, so that nothing is divided by zero where no pixel has a class.
        return ops.maximum(self.reduction.average(ops.stack(counts)), 1.0 / self.world_size)

    def _reduce(self, gradients: Sequence[Tensor], losses: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Averages over the ranks: (gradient (P,), losses (K,), norm of the gradient).

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
        losses, square = mint.split(tail, self.tail_sizes)
        norm = ops.sqrt(ops.square(shared).sum() + square[0])
        return self.concat((shared, branches)), losses, norm

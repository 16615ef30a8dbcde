"""One training step as one compiled Cell: forward, losses, gradient, reduction, clip, update.

Shapes: K = number of tasks, S = values of the shared branch, T = values of the task branches,
P = S + T. The flat vectors hold the shared branch first.
"""

from collections.abc import Sequence

from mindspore import Parameter, ParameterTuple, Tensor, mint, nn, ops

from train.losses import cross_entropy, smoothed
from train.model.mtln import MTLN, is_shared
from train.optim import FlatOptimizer

FLOAT_BYTES = 4


def split_by_branch(network: nn.Cell) -> tuple[list[Parameter], list[Parameter]]:
    """The trainable parameters: (of the shared branch, of the task branches)."""
    trainable = network.trainable_params()
    shared = [p for p in trainable if is_shared(p.name)]
    return shared, [p for p in trainable if not is_shared(p.name)]


class TrainStep(nn.Cell):
    """Runs one mixed batch through the network and updates its parameters.

    The reduced message is [shared gradient | task gradients, if they are reduced too | tail]. The
    tail holds the K losses and, where the task branches stay local, their squared gradient norm:
    so the norm that clips the gradient, and the decision to skip a step that is not finite, are
    the same on all ranks without a second message.

    Args:
        network: The network, with ``shared.*`` and ``tasks.*`` parameters.
        optimizer: Over all P values, shared first.
        all_reduce: Sums a float32 vector over all ranks; None with one rank.
        world_size: Number of ranks.
        weights: For every data set, the images of this rank over their mean over the ranks. So the
            mean over the ranks is the mean over all images, also where a share of the mixed batch
            cannot be dealt evenly.
        local_branches: Whether the task branches are updated with their own gradient only.
        label_smoothing: See :func:`train.losses.smoothed`.
        clip_norm: Largest global norm of the gradient; 0 for no limit.
        mixed: Whether images are mixed with each other (MixUp, CutMix), so that batches hold the
            labels of two.
    """

    def __init__(
        self,
        network: MTLN,
        optimizer: FlatOptimizer,
        all_reduce: nn.Cell | None,
        world_size: int,
        weights: Sequence[float],
        local_branches: bool,
        label_smoothing: float,
        clip_norm: float,
        mixed: bool,
    ) -> None:
        super().__init__(auto_prefix=False)
        self.network = network
        self.optimizer = optimizer
        self.all_reduce = all_reduce
        self.world_size = world_size
        self.local_branches = local_branches
        self.label_smoothing = label_smoothing
        self.clip_norm = clip_norm
        self.mixed = mixed
        shared, branches = split_by_branch(network)
        self.parameters = ParameterTuple(shared + branches)
        self.num_shared_parameters = len(shared)
        self.sizes = [p.size for p in self.parameters]
        self.num_shared: int = sum(p.size for p in shared)
        self.num_values: int = sum(self.sizes)
        self.dataset_of_task = network.dataset_of_task
        self.weight_of_task = tuple(weights[d] for d in network.dataset_of_task)
        self.num_tasks = len(network.dataset_of_task)
        self.num_datasets = max(network.dataset_of_task) + 1
        self.losses_and_gradients = ops.value_and_grad(
            self.losses, None, self.parameters, has_aux=True
        )
        self.flatten = Flatten()
        self.concat = ops.Concat(0)
        self.map = ops.Map()

    @property
    def bytes_reduced(self) -> int:
        """Bytes of the message that every rank reduces in a step; 0 with one rank."""
        if self.all_reduce is None:
            return 0
        tail = self.num_tasks + (1 if self.local_branches else 0)
        values = self.num_shared if self.local_branches else self.num_values
        return FLOAT_BYTES * (values + tail)

    def construct(self, rate: Tensor, number: Tensor, *batch: Tensor) -> Tensor:
        """One update.

        Args:
            rate: Learning rate, scalar.
            number: Number of this update, from 1, scalar float.
            batch: The images of every data set, uint8 (n_d, H, W, 3), then their labels,
                int32 (n_d,); if they are mixed, also the labels of their partners, int32 (n_d,),
                and the share of each image's own label, float32 (n_d,).

        Returns:
            (K + 2,): mean loss of every task over all ranks, norm of the gradient before
            clipping, and 1 if the update was made or 0 if it was skipped.
        """
        images, labels = batch[: self.num_datasets], batch[self.num_datasets :]
        (_, losses), gradients = self.losses_and_gradients(images, labels)
        shared = self.flatten(gradients[: self.num_shared_parameters])
        branches = self.flatten(gradients[self.num_shared_parameters :])
        gradient, losses, norm = self._reduce(shared, branches, losses)
        finite = ops.isfinite(norm)
        if self.clip_norm > 0:
            gradient = gradient * ops.minimum(self.clip_norm / (norm + 1e-6), 1.0)
        self._update(gradient, finite, rate, number)
        return self.concat((losses, norm.reshape((1,)), finite.astype(losses.dtype).reshape((1,))))

    def losses(self, images: Sequence[Tensor], labels: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """(Sum of the task losses, losses (K,)) of this rank's images, weighted."""
        losses = [
            cross_entropy(logits, self._target(labels, self.dataset_of_task[i], logits.shape[1]))
            * self.weight_of_task[i]
            for i, logits in enumerate(self.network(*images))
        ]
        stacked = ops.stack(losses)
        return stacked.sum(), stacked

    def _target(self, labels: Sequence[Tensor], dataset: int, num_classes: int) -> Tensor:
        """Target (n_d, num_classes) of a data set's images."""
        target = smoothed(labels[dataset], num_classes, self.label_smoothing)
        if not self.mixed:
            return target
        partners = labels[self.num_datasets + dataset]
        share = labels[2 * self.num_datasets + dataset].reshape((-1, 1))
        other = smoothed(partners, num_classes, self.label_smoothing)
        return share * target + (1.0 - share) * other

    def _reduce(
        self, shared: Tensor, branches: Tensor, losses: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Averages over the ranks: (gradient (P,), losses (K,), norm of the gradient)."""
        if not self.local_branches:
            message = self._average(self.concat((shared, branches, losses)))
            gradient, losses = mint.split(message, [self.num_values, self.num_tasks])
            return gradient, losses, ops.sqrt(ops.square(gradient).sum())
        square = ops.square(branches).sum().reshape((1,))
        message = self._average(self.concat((shared, losses, square)))
        shared, losses, square = mint.split(message, [self.num_shared, self.num_tasks, 1])
        norm = ops.sqrt(ops.square(shared).sum() + square[0])
        return self.concat((shared, branches)), losses, norm

    def _average(self, message: Tensor) -> Tensor:
        if self.all_reduce is None:
            return message
        return self.all_reduce(message) / self.world_size

    def _update(self, gradient: Tensor, finite: Tensor, rate: Tensor, number: Tensor) -> None:
        values = self.flatten(self.parameters)
        change = self.optimizer(values, gradient, finite, rate, number)
        self.map(_subtract, self.parameters, mint.split(change, self.sizes))


class Flatten(nn.Cell):
    """Concatenates tensors of any shape into one vector."""

    def __init__(self) -> None:
        super().__init__()
        self.map = ops.Map()
        self.concat = ops.Concat(0)

    def construct(self, tensors: Sequence[Tensor]) -> Tensor:
        """Tensors -> (sum of their sizes,)."""
        return self.concat(self.map(_ravel, tensors))


def _ravel(tensor: Tensor) -> Tensor:
    return tensor.reshape((-1,))


def _subtract(parameter: Parameter, change: Tensor) -> Tensor:
    return ops.assign_sub(parameter, change.reshape(parameter.shape))

"""The state of a run between the network in memory, the other ranks and a checkpoint."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from mindspore import Parameter

from train.distributed.collectives import Collectives
from train.model.mtln import MTLN, split_by_branch
from train.optim.ema import ModelAverage
from train.optim.loss_balance import Balance
from train.optim.loss_scale import LossScale
from train.optim.optimizers import FlatOptimizer, by_name, flat, pack, unpack
from train.run.checkpoint import Arrays, Checkpoint


class TrainingState:
    """All that a run has learned, as one thing that can be saved, loaded and spread over the ranks.

    Args:
        network: The network.
        optimizer: Its optimizer.
        balance: The weights of the task losses.
        average: The moving average of the network.
        loss_scale: The loss scale, if there is one.

    Attributes:
        everything: All of it but the moving average, which follows from the network.
    """

    def __init__(
        self,
        network: MTLN,
        optimizer: FlatOptimizer,
        balance: Balance,
        average: ModelAverage,
        loss_scale: LossScale | None = None,
    ) -> None:
        shared, branches = split_by_branch(network)
        self.trainable = shared + branches
        self.parameters: list[Parameter] = list(network.get_parameters())
        self.slots = optimizer.slots
        self.counters = {f"optimizer.{name}": p for name, p in optimizer.counters.items()}
        self.others = {f"balance.{name}": slot for name, slot in balance.state.items()}
        self.others |= self.counters
        if loss_scale is not None:
            self.others |= {f"loss_scale.{name}": p for name, p in loss_scale.state.items()}
        self.everything = [*self.parameters, *self.slots.values(), *self.others.values()]
        self.average = average

    def to_arrays(self) -> tuple[Arrays, Arrays]:
        """Return parameters and statistics by name, and all else learned: see Checkpoint."""
        model = {p.name: p.asnumpy() for p in self.parameters}
        optimizer = {
            f"{slot}.{name}": values
            for slot, vector in self.slots.items()
            for name, values in by_name(vector.asnumpy(), self.trainable).items()
        }
        return model, {**optimizer, **{name: p.asnumpy() for name, p in self.others.items()}}

    def not_finite(self) -> list[str]:
        """Return the names of what holds an infinity or no number at all."""
        return [p.name for p in self.everything if not np.isfinite(p.asnumpy()).all()]

    def to_checkpoint(self, step: int, state: Mapping[str, Any]) -> Checkpoint:
        """Return all of it after ``step`` steps, with further plain values that are to be kept."""
        model, optimizer = self.to_arrays()
        return Checkpoint(step, model, optimizer, dict(state), self.average.to_arrays())

    def load(self, checkpoint: Checkpoint) -> None:
        """Take over a checkpoint of the same network and optimizer."""
        unpack(flat(checkpoint.model, self.parameters), self.parameters)
        for slot, vector in self.slots.items():
            unpack(flat(checkpoint.optimizer, self.trainable, f"{slot}."), [vector])
        # Before an optimizer counted its updates, they were taken to be the steps.
        arrays = {name: np.full(1, checkpoint.step, np.float32) for name in self.counters}
        arrays |= checkpoint.optimizer
        for name, parameter in self.others.items():
            unpack(arrays[name].ravel(), [parameter])
        self.average.load(checkpoint.average)

    def broadcast(self, collectives: Collectives) -> None:
        """Give all ranks rank 0's state."""
        if collectives.world_size == 1:
            return
        unpack(collectives.broadcast(pack(self.everything)), self.everything)
        if self.average.values.size:
            self.average.values = collectives.broadcast(self.average.values)

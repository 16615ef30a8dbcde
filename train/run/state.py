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
from train.optim.optimizers import FlatOptimizer, Floats, by_name, flat, pack, unpack
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
        self._held: list[Floats] = []

    @property
    def num_bytes(self) -> int:
        """What a checkpoint of it takes on the disk."""
        return int(4 * (sum(p.size for p in self.everything) + self.average.values.size))

    def read(self) -> list[Floats]:
        """Take ``everything`` to the host, once for all who look at it before the next step.

        On a CPU these are no copies: they change when the parameters do.
        """
        self._held = [p.asnumpy() for p in self.everything]
        return self._held

    def to_arrays(self) -> tuple[Arrays, Arrays]:
        """Return copies of what was read: parameters and statistics by name, and all else learned.

        See Checkpoint.
        """
        held = iter([np.array(values) for values in self._held])
        model = {p.name: next(held) for p in self.parameters}
        optimizer = {
            f"{slot}.{name}": values
            for slot in self.slots
            for name, values in by_name(next(held), self.trainable).items()
        }
        return model, {**optimizer, **{name: next(held) for name in self.others}}

    def not_finite(self) -> list[str]:
        """Return the names of what held an infinity or no number at all when it was read."""
        held = zip(self.everything, self._held, strict=True)
        return [p.name for p, values in held if not np.isfinite(values).all()]

    def to_checkpoint(self, step: int, state: Mapping[str, Any]) -> Checkpoint:
        """Return a copy of what was read after ``step`` steps, with further plain values to keep.

        It stays what it is while training goes on.
        """
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

"""The state of a run between the network in memory, the other ranks and a checkpoint."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from mindspore import Parameter

from train.config.schema import Config
from train.data.manifest import RecordSet
from train.distributed.collectives import Collectives
from train.errors import UserError
from train.model.mtln import MTLN
from train.optim.ema import ModelAverage
from train.optim.loss_balance import Balance
from train.optim.loss_scale import LossScale
from train.optim.optimizers import FlatOptimizer
from train.optim.vectors import pack, split, unpack
from train.run.checkpoint import Arrays, Checkpoint
from train.step.train_step import split_by_branch

# May differ between a run and its continuation: they do not change what is learned.
_FREE_KEYS = (
    "run_dir",
    "device",
    "log_every",
    "evaluate",
    "checkpoint",
    "data_root",
    "datasets",
    "cache",
    "cache_budget",
    "check_records",
    "on_bad_record",
    "storage",
)
_FREE_REDUCTION_KEYS = {"bucket_mb"}


class TrainingState:
    """All that a run has learned, as one thing that can be saved, loaded and spread over the ranks.

    Args:
        network: The network.
        optimizer: Its optimizer.
        balance: The weights of the task losses.
        average: The moving average of the network.
        loss_scale: The loss scale, if there is one.
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
        self.others = {f"balance.{name}": slot for name, slot in balance.state.items()}
        if loss_scale is not None:
            self.others |= {f"loss_scale.{name}": p for name, p in loss_scale.state.items()}
        self.average = average

    def to_arrays(self) -> tuple[Arrays, Arrays]:
        """(Parameters and statistics by name, what else is learned: see Checkpoint)."""
        model = {p.name: p.asnumpy() for p in self.parameters}
        optimizer = {
            f"{slot}.{p.name}": np.ascontiguousarray(values)
            for slot, vector in self.slots.items()
            for p, values in zip(
                self.trainable, split(vector.asnumpy(), self.trainable), strict=True
            )
        }
        return model, {**optimizer, **{name: p.asnumpy() for name, p in self.others.items()}}

    def load(self, checkpoint: Checkpoint) -> None:
        """Takes over a checkpoint of the same network and optimizer."""
        model = [checkpoint.model[p.name].ravel() for p in self.parameters]
        unpack(np.concatenate(model), self.parameters)
        for slot, vector in self.slots.items():
            values = [checkpoint.optimizer[f"{slot}.{p.name}"].ravel() for p in self.trainable]
            unpack(np.concatenate(values), [vector])
        for name, parameter in self.others.items():
            unpack(checkpoint.optimizer[name].ravel(), [parameter])
        self.average.load(checkpoint.average)

    def broadcast(self, collectives: Collectives) -> None:
        """Gives all ranks rank 0's state."""
        if collectives.world_size == 1:
            return
        everything = [*self.parameters, *self.slots.values(), *self.others.values()]
        unpack(collectives.broadcast(pack(everything)), everything)
        if self.average.values.size:
            self.average.values = collectives.broadcast(self.average.values)


def run_identity(config: Config, sets: Sequence[RecordSet]) -> dict[str, Any]:
    """What must be equal for a run to go on from a checkpoint: settings and training records."""
    settings = _settings(config)
    augment = {s.name: config.augment_of(s.name).model_dump(mode="json") for s in sets}
    records = {s.name: _digest_of_records(s) for s in sets}
    return {**settings, "augment": augment, "datasets": records}


def require_same_run(saved: Mapping[str, Any], now: Mapping[str, Any], run_dir: str) -> None:
    """Refuses to go on with another run's checkpoint.

    Raises:
        UserError: Names the keys that differ.
    """
    before, after = _flat(saved), _flat(now)
    # A checkpoint that is older than a key was made with what is its default.
    before = {**{key: value for key, value in _defaults().items() if key in after}, **before}
    differing = [key for key in {**before, **after} if before.get(key) != after.get(key)]
    if differing:
        parts = [f"{k} was {before.get(k)!r} and is now {after.get(k)!r}" for k in differing]
        raise UserError(
            f"run_dir: {run_dir} holds a run with other settings: {'; '.join(parts)} "
            "(choose another run_dir=..., or remove the folder)"
        )


def _settings(config: Config) -> dict[str, Any]:
    """The settings that are not free to change."""
    free: dict[str, Any] = {**dict.fromkeys(_FREE_KEYS, True), "reduction": _FREE_REDUCTION_KEYS}
    return config.model_dump(mode="json", exclude=free)


def _defaults() -> dict[str, Any]:
    """The default of every setting that has one, by its path."""
    fields = Config.model_fields
    optional = {name: f.default for name, f in fields.items() if not f.is_required()}
    return _flat(_settings(Config.model_construct(**optional)))


def _digest_of_records(record_set: RecordSet) -> str:
    shards = [s.sha256 for s in record_set.manifest.splits["train"].shards]
    return hashlib.sha256(json.dumps(shards).encode()).hexdigest()[:16]


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            flat.update(_flat(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat

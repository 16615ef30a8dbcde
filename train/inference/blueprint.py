"""What a checkpoint says of its network, so that it can be built without configuration or records.

A checkpoint's ``state.json`` keeps, under :data:`NETWORK`, the configuration of its run and what
the manifests of its data sets say of pictures and classes, but not of records.

Nothing here imports MindSpore.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from train.config.nearest import did_you_mean
from train.config.reader import explain, place
from train.config.schema import Config
from train.data.manifest import Listing, Manifest, MaskSpace, RecordSet
from train.errors import UserError

NETWORK = "network"
# How pictures of more than 8 bits, or of more than three bands, became RGB.
_OF_PICTURES = ("bands", "range")


@dataclass(frozen=True)
class _Facts:
    """What is kept of a manifest; its fields are those of :class:`train.data.manifest.Manifest`."""

    classes: tuple[str, ...]
    masks: dict[str, MaskSpace]
    image: dict[str, Any]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    options: dict[str, Any]

    @classmethod
    def of(cls, manifest: Manifest) -> _Facts:
        made = manifest.source.get("options", {})
        options = {key: made.get(key) for key in _OF_PICTURES}
        same = manifest.classes, manifest.masks, manifest.image, manifest.mean, manifest.std
        return cls(*same, options)

    def record_set(self, name: str) -> RecordSet:
        """Return a data set without records."""
        same = self.classes, self.image, self.mean, self.std
        source = {"options": self.options}
        manifest = Manifest(name, *same, {}, Listing(0, ""), source, "", self.masks)
        return RecordSet(name, Path(), manifest)


_READER = TypeAdapter(_Facts)


def describe_network(config: Config, sets: Iterable[RecordSet]) -> dict[str, Any]:
    """Return what a checkpoint keeps of its network, as plain values."""
    return {
        "config": config.model_dump(mode="json"),
        "datasets": {s.name: asdict(_Facts.of(s.manifest)) for s in sets},
    }


@dataclass(frozen=True)
class Blueprint:
    """A network that can be built, and what its answers mean.

    Attributes:
        config: The configuration of the run that trained it.
        sets: The data sets that it learned from, without their records.
    """

    config: Config
    sets: tuple[RecordSet, ...]

    @classmethod
    def of(cls, state: Mapping[str, Any], where: Path | str) -> Blueprint:
        """Read what the state of a checkpoint says.

        Args:
            state: The content of its state.json.
            where: The checkpoint, for messages.

        Raises:
            UserError: It does not say it, or not in a way that is known here.
        """
        if NETWORK not in state:
            raise UserError(
                f"{where}: written before checkpoints said what their network is: go on with its "
                "run for one more checkpoint, with a larger schedule.steps if it is complete"
            )
        try:
            kept = state[NETWORK]
            config = Config.model_validate(kept["config"])
            facts = {n: _READER.validate_python(f) for n, f in kept["datasets"].items()}
        except ValidationError as error:
            first = error.errors()[0]
            raise UserError(f"{where}: {'.'.join(place(first))}: {explain(first)}") from None
        return cls(config, tuple(f.record_set(name) for name, f in facts.items()))

    def only(self, tasks: Sequence[str] | None) -> Blueprint:
        """Return the network with these tasks and the data sets that they need; None: with all.

        Raises:
            UserError: There is no such task.
        """
        if tasks is None:
            return self
        for name in tasks:
            _require("--tasks", "task", name, self.config.tasks)
        chosen = {name: task for name, task in self.config.tasks.items() if name in tasks}
        needed = {self.config.dataset_of(name) for name in chosen}
        datasets = {n: d for n, d in self.config.datasets.items() if n in needed}
        config = self.config.model_copy(update={"tasks": chosen, "datasets": datasets})
        return Blueprint(config, tuple(s for s in self.sets if s.name in needed))

    def dataset(self, name: str) -> RecordSet:
        """Return a data set.

        Raises:
            UserError: There is none of this name.
        """
        by_name = {s.name: s for s in self.sets}
        _require("--as", "data set", name, by_name)
        return by_name[name]


def _require(option: str, kind: str, name: str, known: Iterable[str]) -> None:
    names = list(known)
    if name not in names:
        hint = did_you_mean(name, names)
        raise UserError(f"{option}: no {kind} {name!r} (there are: {', '.join(names)}){hint}")

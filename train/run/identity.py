"""The check that a run may go on from a checkpoint: nothing differs that changes its result."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from train.config.marks import FREE_ON_RESUME, marked
from train.config.schema import Config
from train.data.manifest import RecordSet
from train.errors import UserError

_HINTS = {
    "datasets": "a run needs the very records that it began with: what differs is their digest",
    "schedule.steps": "a run can be made longer, not shorter",
    "optimizer.learning_rate": "a run can go on with a lower rate, not a higher one",
    "optimizer.clip_norm": "a run can go on with a lower limit, not a higher one or none",
}
_MOST_KEYS = 5
_LONGEST_VALUE = 60
# Sections, in the order in which their differences are told; those that are not here come before
# the last one, of which every data set has a dozen keys.
_SECTIONS = ("datasets", "tasks", "model", "schedule", "optimizer", "batch", "image", "", "augment")


def run_identity(config: Config, sets: Sequence[RecordSet]) -> dict[str, Any]:
    """Return what must be equal for a run to go on from a checkpoint, as plain values.

    It is every key of the configuration that is not marked as free, and digests of the training
    records and of what their labels mean.
    """
    settings = _settings(config)
    augment = {s.name: config.augment_of(s.name).model_dump(mode="json") for s in sets}
    records = {}
    for record_set in sets:
        manifest = record_set.manifest
        masks = [(name, space.classes) for name, space in manifest.masks.items()]
        # The index of a shard says where its records are.
        shards = [(s.sha256, s.index_sha256) for s in manifest.splits["train"].shards]
        text = json.dumps([manifest.classes, masks, shards])
        records[record_set.name] = hashlib.sha256(text.encode()).hexdigest()[:16]
    return {**settings, "augment": augment, "datasets": records}


Changes = dict[str, tuple[Any, Any]]


def require_same_run(saved: Mapping[str, Any], now: Mapping[str, Any], run_dir: str) -> Changes:
    """Refuse to go on with another run's checkpoint; the same run may be longer now, or gentler.

    Args:
        saved: The identity of the run that the checkpoint is of.
        now: That of the run that is to go on.
        run_dir: The run folder.

    Returns:
        The keys that differ and may, with what they were and are now.

    Raises:
        UserError: Names the keys that differ, those that matter most first.
    """
    before, after = _flat(saved), _flat(now)
    # A checkpoint that is older than a key was made with what is its default.
    before = {**{key: value for key, value in _defaults().items() if key in after}, **before}
    differing = [key for key in {**before, **after} if before.get(key) != after.get(key)]
    refused = [key for key in differing if not _may_become(key, before.get(key), after.get(key))]
    if not refused:
        return {key: (before[key], after[key]) for key in differing}
    differing = sorted(refused, key=_weight)
    parts = [
        f"{k} was {before.get(k)!r:.{_LONGEST_VALUE}} and is now {after.get(k)!r:.{_LONGEST_VALUE}}"
        for k in differing[:_MOST_KEYS]
    ]
    if len(differing) > _MOST_KEYS:
        parts.append(f"and {len(differing) - _MOST_KEYS} more")
    told = {*differing, *(key.partition(".")[0] for key in differing)}
    hints = (f"; {hint}" for key, hint in _HINTS.items() if key in told)
    raise UserError(
        f"run_dir: {run_dir} holds a run with other settings: {'; '.join(parts)} "
        f"(choose another run_dir=..., or remove the folder{''.join(hints)})"
    )


def _may_become(key: str, before: Any, after: Any) -> bool:
    """Return whether a run may go on with another value: longer, or after it has diverged."""
    try:
        if key == "schedule.steps":
            return bool(after > before)
        if key == "optimizer.learning_rate":
            return bool(after < before)
        return key == "optimizer.clip_norm" and bool(before == 0 or 0 < after < before)
    except TypeError:
        return False


def _weight(key: str) -> int:
    """Return the place of a key among those that differ: what decides on the rest comes first."""
    section = key.partition(".")[0]
    return _SECTIONS.index(section if section in _SECTIONS else "")


def _settings(config: Config) -> dict[str, Any]:
    """Return the settings that are not free to change."""
    return config.model_dump(mode="json", exclude=marked(Config, FREE_ON_RESUME))


def _defaults() -> dict[str, Any]:
    """Return the default of every setting that has one, by its path."""
    fields = Config.model_fields
    optional = {name: f.default for name, f in fields.items() if not f.is_required()}
    # Before there was "auto", which no run has: it is resolved when the run starts.
    optional["precision"] = "float32"
    return _flat(_settings(Config.model_construct(**optional)))


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            flat.update(_flat(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat

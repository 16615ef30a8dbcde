"""What tasks learn from: the classes that their data sets have for them.

Nothing here imports MindSpore, so that a mistake is told before anything starts.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from train.config.nearest import did_you_mean
from train.config.schema import Config
from train.data.manifest import RecordSet
from train.errors import UserError
from train.tasks.registry import KINDS


@dataclass(frozen=True)
class Labels:
    """The labels of a task.

    Attributes:
        classes: Class names.
        masks: The label space of the masks that they are in; None for scene classes.
    """

    classes: tuple[str, ...]
    masks: str | None = None


def labels_of(task: str, config: Config, record_set: RecordSet) -> Labels:
    """Return the labels that a data set has for a task.

    Raises:
        UserError: It has none of the kind, or their number is not the expected one.
    """
    options = config.tasks[task]
    needs_masks = KINDS[options.kind].needs_masks
    found = _masks(task, config, record_set) if needs_masks else _scenes(task, record_set)
    if options.classes not in (None, len(found.classes)):
        raise UserError(
            f"tasks.{task}.classes: {options.classes} classes are expected, but "
            f"{record_set.folder} has {len(found.classes)} ({_shown(found.classes)})"
        )
    return found


def _scenes(task: str, record_set: RecordSet) -> Labels:
    if not record_set.manifest.classes:
        raise UserError(
            f"tasks.{task}: {record_set.folder} has masks only, no scene classes "
            f"(write tasks: {{{task}: {{dataset: {record_set.name}, kind: segmentation}}}})"
        )
    return Labels(record_set.manifest.classes)


def _masks(task: str, config: Config, record_set: RecordSet) -> Labels:
    wanted, spaces = config.tasks[task].masks, record_set.manifest.masks
    kind, folder, known = config.tasks[task].kind, record_set.folder, ", ".join(spaces)
    if not spaces:
        raise UserError(f"tasks.{task}.kind: {kind} needs masks, but {folder} has none")
    if wanted is None and len(spaces) > 1:
        raise UserError(f"tasks.{task}.masks: missing: {folder} has several kinds ({known})")
    masks = wanted or next(iter(spaces))
    if masks not in spaces:
        raise UserError(
            f"tasks.{task}.masks: {folder} has no masks {masks!r} (but: {known})"
            f"{did_you_mean(masks, spaces)}"
        )
    augment = config.augment_of(record_set.name)
    if augment.mixup > 0:
        raise UserError(f"datasets.{record_set.name}.augment.mixup: masks cannot be blended")
    return Labels(spaces[masks].classes, masks)


def _shown(names: Sequence[str], most: int = 6) -> str:
    """Return the first of some names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{', '.join(names[:most])}{more}"

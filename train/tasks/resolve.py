"""The tasks of a run: what is learned from which data set, and between which classes."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from train.config.schema import Config
from train.data.manifest import RecordSet
from train.errors import UserError
from train.model.mtln import TaskKind


@dataclass(frozen=True)
class Task:
    """One task.

    Attributes:
        name: Its name.
        kind: Whether images or pixels are classified.
        dataset: Name of the data set that feeds it.
        classes: Class names, in the order of the network's answers.
        masks: Segmentation: the label space of the masks.
    """

    name: str
    kind: TaskKind
    dataset: str
    classes: tuple[str, ...]
    masks: str | None = None


def resolve_tasks(config: Config, sets: Sequence[RecordSet]) -> list[Task]:
    """Compares the tasks of a configuration with what their data sets hold.

    Raises:
        UserError: A data set has no labels of the kind that a task needs, or a class count
            disagrees.
    """
    by_name = {s.name: s for s in sets}
    tasks = []
    for name in config.tasks:
        task = _resolve(config, name, by_name[config.dataset_of(name)])
        expected = config.tasks[name].classes or len(task.classes)
        if expected != len(task.classes):
            raise UserError(
                f"tasks.{name}.classes: {expected} classes are expected, but "
                f"{by_name[task.dataset].folder} has {len(task.classes)}"
            )
        tasks.append(task)
    return tasks


def wanted_masks(tasks: Iterable[Task]) -> dict[str, tuple[str, ...]]:
    """For every data set whose masks are needed, the label spaces, each once."""
    wanted: dict[str, tuple[str, ...]] = {}
    for task in tasks:
        spaces = wanted.get(task.dataset, ())
        if task.masks is not None and task.masks not in spaces:
            wanted[task.dataset] = (*spaces, task.masks)
    return wanted


def mask_positions(tasks: Sequence[Task], sets: Sequence[RecordSet]) -> list[int | None]:
    """For every task, the position of its masks among those of a batch; None for a scene task."""
    wanted = wanted_masks(tasks)
    order = [(s.name, space) for s in sets for space in wanted.get(s.name, ())]
    return [None if t.masks is None else order.index((t.dataset, t.masks)) for t in tasks]


def _resolve(config: Config, name: str, record_set: RecordSet) -> Task:
    options, manifest, folder = config.tasks[name], record_set.manifest, record_set.folder
    if options.kind == "scene":
        if not manifest.classes:
            raise UserError(f"tasks.{name}: {folder} has masks only, no scene classes")
        return Task(name, options.kind, record_set.name, manifest.classes)
    known = ", ".join(manifest.masks)
    if not manifest.masks:
        raise UserError(f"tasks.{name}.kind: segmentation needs masks, but {folder} has none")
    if options.masks is None and len(manifest.masks) > 1:
        raise UserError(f"tasks.{name}.masks: missing: {folder} has several kinds ({known})")
    space = options.masks or next(iter(manifest.masks))
    if space not in manifest.masks:
        raise UserError(f"tasks.{name}.masks: {folder} has no masks {space!r} (but: {known})")
    return Task(name, options.kind, record_set.name, manifest.masks[space].classes, space)

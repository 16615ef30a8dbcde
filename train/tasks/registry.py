"""The kinds of tasks: what is known of them without MindSpore, and where the rest is.

A new kind is a module with a subclass of :class:`train.tasks.base.Task`, and an entry in
:data:`KINDS`.
"""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Metrics = Mapping[str, Any]


@dataclass(frozen=True)
class Figure:
    """One of the metrics of a task, as tables show it.

    Attributes:
        heading: What it is called.
        path: The keys that lead to it in the metrics.
        split: The split it is of.
        form: How it is written: a ratio in percent, a count, or a number.
    """

    heading: str
    path: tuple[str, ...]
    split: Literal["val", "test"] = "test"
    form: Literal["percent", "count", "number"] = "percent"

    def of(self, metrics: Metrics | None) -> Any:
        """Return its value in the metrics of a task; None where it is missing or not known."""
        value: Any = metrics
        for key in self.path:
            value = value.get(key) if isinstance(value, Mapping) else None
        return value

    def text(self, metrics: Metrics) -> str:
        """Return its value as a cell of a table."""
        value = self.of(metrics)
        if value is None:
            return "-"
        if self.form == "percent":
            return percent(value)
        return f"{value:,}" if self.form == "count" else f"{value:.3f}"

    def text_of_reference(self, metrics: Metrics) -> str:
        """Return the same for a reference, which does not have all metrics: empty if missing."""
        known: Any = metrics
        for key in self.path[:-1]:
            known = known.get(key, {})
        return self.text(metrics) if self.path[-1] in known else ""


@dataclass(frozen=True)
class TaskKind:
    """A kind of tasks.

    Attributes:
        implementation: Its subclass of :class:`train.tasks.base.Task`, as ``module:class``.
        main: The metric that stands for a task in one number.
        logged: Keys of the metrics that metrics.jsonl keeps.
        title: Heading of its table at the end of a run.
        table: The columns of that table.
        notes: What words in the headings of that table mean.
        compared: What ``tools compare`` shows; of several figures in a table of its own.
        compared_notes: What words in the headings of that table mean.
        reference: Key, in the metrics, of a reference with metrics of its own, which stand below
            those of the network; None for none.
        caption: What the reference is.
        needs_masks: Whether its tasks learn from masks.
    """

    implementation: str
    main: Figure
    logged: tuple[str, ...]
    title: str
    table: tuple[Figure, ...]
    compared: tuple[Figure, ...]
    notes: Mapping[str, str] = field(default_factory=dict)
    compared_notes: Mapping[str, str] = field(default_factory=dict)
    reference: str | None = None
    caption: str | None = None
    needs_masks: bool = False

    def load(self) -> Any:
        """Return its subclass of :class:`train.tasks.base.Task`; imports MindSpore."""
        module, _, name = self.implementation.partition(":")
        return getattr(importlib.import_module(module), name)


KINDS: dict[str, TaskKind] = {
    "scene": TaskKind(
        implementation="train.tasks.scene:SceneTask",
        main=Figure("accuracy", ("accuracy",)),
        logged=("accuracy", "average_accuracy", "kappa", "images"),
        title="Test accuracy",
        table=(
            Figure("images", ("images",), form="count"),
            Figure("accuracy", ("accuracy",)),
            Figure("average accuracy", ("average_accuracy",)),
            Figure("kappa", ("kappa",), form="number"),
            Figure("val accuracy", ("accuracy",), split="val"),
        ),
        notes={"average accuracy": "mean of the recalls of all classes", "kappa": "Cohen's"},
        compared=(Figure("accuracy", ("accuracy",)),),
    ),
    "segmentation": TaskKind(
        implementation="train.tasks.segmentation:SegmentationTask",
        main=Figure("mIoU", ("mean_iou",)),
        logged=("images", "pixel_accuracy", "mean_iou", "frequency_weighted_iou", "pixels"),
        title="Test segmentation",
        table=(
            Figure("images", ("images",), form="count"),
            Figure("pixel accuracy", ("pixel_accuracy",)),
            Figure("mIoU", ("mean_iou",)),
            Figure("fwIoU", ("frequency_weighted_iou",)),
            Figure("multi-class\nimages", ("multi_class", "images"), form="count"),
            Figure("their mIoU", ("multi_class", "mean_iou")),
            Figure("val mIoU", ("mean_iou",), split="val"),
        ),
        notes={
            "fwIoU": "mean of the IoU of all classes, weighted by their pixels",
            "multi-class images": "those whose mask has more than one class",
            "their mIoU": "mIoU on these alone",
        },
        compared=(
            Figure("pixel accuracy", ("pixel_accuracy",)),
            Figure("mIoU", ("mean_iou",)),
            Figure("mIoU, several classes", ("multi_class", "mean_iou")),
            Figure("oracle: pixel accuracy", ("oracle", "pixel_accuracy")),
            Figure("oracle: mIoU", ("oracle", "mean_iou")),
            Figure("oracle: mIoU, several classes", ("oracle", "multi_class", "mean_iou")),
        ),
        compared_notes={
            "several classes": "on the images that have more than one",
            "oracle": "an image painted with its true scene class",
        },
        reference="oracle",
        caption="oracle: every image painted with its true scene class",
        needs_masks=True,
    ),
}

DEFAULT_KIND = "scene"


def percent(ratio: float | None, digits: int = 2) -> str:
    """Return a ratio in percent, "-" where there is none."""
    return "-" if ratio is None else f"{100 * ratio:.{digits}f} %"


def kind_of(metrics: Metrics) -> str:
    """Return the kind of the task that metrics are of; those of old runs do not tell."""
    return str(metrics.get("kind", DEFAULT_KIND))


def validation_of(tasks: Mapping[str, Metrics] | None) -> dict[str, Any] | None:
    """Return the mean of the tasks' main metrics on val, and those; None where none is known."""
    known = {
        name: value
        for name, metrics in (tasks or {}).items()
        if (value := KINDS[kind_of(metrics)].main.of(metrics)) is not None
    }
    return {"mean": sum(known.values()) / len(known), "tasks": known} if known else None

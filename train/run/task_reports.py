"""How the results of a task are shown and logged: all that depends on the kind of the task."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Metrics = Mapping[str, Any]
Row = tuple[str, ...]


@dataclass(frozen=True)
class TaskReport:
    """What is shown and logged of the metrics of one kind of task.

    Attributes:
        logged: The metrics that go to metrics.jsonl after every evaluation, in this order.
        brief: Heading and key of the one that is shown after every evaluation.
        title: Title of the table at the end of a run.
        headings: Its columns, after the first one with the name of the task.
        caption: What stands below the table.
        rows: Rows of a task, from its name and its metrics on test and val.
    """

    logged: Sequence[str]
    brief: tuple[str, str]
    title: str
    headings: Sequence[str]
    caption: str | None
    rows: Callable[[str, Metrics, Metrics], list[Row]]


def report_of(metrics: Metrics) -> TaskReport:
    """Return the report for metrics of a task; those of older runs do not tell: they are scene."""
    return REPORTS[metrics.get("kind", "scene")]


def percent(ratio: float | None, digits: int = 2) -> str:
    """Write a ratio in percent; "-" where there is none."""
    return "-" if ratio is None else f"{100 * ratio:.{digits}f} %"


def _scene_rows(task: str, test: Metrics, val: Metrics) -> list[Row]:
    accuracies = (percent(test["accuracy"]), percent(test["average_accuracy"]))
    kappa = "-" if test["kappa"] is None else f"{test['kappa']:.3f}"
    return [(task, f"{test['images']:,}", *accuracies, kappa, percent(val["accuracy"]))]


def _segmentation_rows(task: str, test: Metrics, val: Metrics) -> list[Row]:
    """Below the network's figures those of the oracle, without which they say little."""
    multi = test["multi_class"]
    keys = ("pixel_accuracy", "mean_iou", "frequency_weighted_iou")
    overall = [percent(test[key]) for key in keys]
    of_multi = (f"{multi['images']:,}", percent(multi["mean_iou"]))
    rows = [(task, f"{test['images']:,}", *overall, *of_multi, percent(val["mean_iou"]))]
    if oracle := test["oracle"]:
        overall = [percent(oracle["pixel_accuracy"]), percent(oracle["mean_iou"]), ""]
        of_multi = ("", percent(oracle["multi_class"]["mean_iou"]))
        rows.append(("  oracle", "", *overall, *of_multi, percent(val["oracle"]["mean_iou"])))
    return rows


# In the order in which they are shown.
REPORTS = {
    "scene": TaskReport(
        logged=("accuracy", "average_accuracy", "kappa", "images"),
        brief=("accuracy", "accuracy"),
        title="Test accuracy",
        headings=("images", "accuracy", "average accuracy", "kappa", "val accuracy"),
        caption=None,
        rows=_scene_rows,
    ),
    "segmentation": TaskReport(
        logged=("images", "pixel_accuracy", "mean_iou", "frequency_weighted_iou", "pixels"),
        brief=("mIoU", "mean_iou"),
        title="Test segmentation",
        headings=(
            "images",
            "pixel accuracy",
            "mIoU",
            "fwIoU",
            "multi-class\nimages",
            "their mIoU",
            "val mIoU",
        ),
        caption="oracle: what painting every image with its true scene class would give",
        rows=_segmentation_rows,
    ),
}

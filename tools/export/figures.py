"""How good a network is, as far as its run has told: figures with their uncertainty."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tools.report.statistics import wilson
from train.errors import UserError
from train.files import read_json
from train.run.checkpoint import VALIDATION, Checkpoint
from train.tasks.registry import KINDS, kind_of

SUMMARY = "summary.json"
_HEADINGS = ("task", "split", "figure", "value", "95 % interval", "counted")


def read_summary(run: Path, step: int) -> dict[str, Any] | None:
    """Return the summary of a run folder if it is of this step's model, else None."""
    try:
        summary = dict(read_json(run / SUMMARY))
        return summary if summary.get("step") == step else None
    except (OSError, ValueError, TypeError):
        return None


def rows(
    summary: Mapping[str, Any] | None,
    checkpoint: Checkpoint,
    tasks: Mapping[str, str],
    counts: Mapping[str, int],
) -> list[list[str]]:
    """Return a table, headings first; headings alone where nothing is known.

    Args:
        summary: From :func:`read_summary`.
        checkpoint: What was exported: it may know its evaluation on val.
        tasks: Names and kinds of what was exported.
        counts: How many pictures of val each task has; 0 where that is not known.
    """
    table = [list(_HEADINGS)]
    if summary is not None:
        try:
            for name in tasks:
                splits = summary["tasks"].get(name, {})
                table += _of_metrics(name, "test", splits.get("test"))
                # Of val one figure is enough: what the run may have chosen its model by.
                table += _of_metrics(name, "val", splits.get("val"))[:1]
        except (KeyError, TypeError, AttributeError) as error:
            raise UserError(f"{SUMMARY}: not the summary of a run: {error!r}") from None
        return table
    known = checkpoint.state.get(VALIDATION, {}).get("tasks", {})
    for name, kind in tasks.items():
        if name in known:
            count = counts[name] if kind == "scene" else 0
            hits = round(known[name] * count)
            told = _percent(known[name]), "-", "-"
            # Whether so many pictures were counted, which the checkpoint does not say.
            if count and abs(hits / count - known[name]) < 1e-9:
                told = _with_interval(hits, count)
            table.append([name, "val", KINDS[kind].main.heading, *told])
    return table


def _of_metrics(task: str, split: str, metrics: Mapping[str, Any] | None) -> list[list[str]]:
    if not metrics:
        return []
    if kind_of(metrics) != "scene":
        counted = f"{metrics['pixels']:,} pixels of {metrics['images']:,} pictures"
        named = [("mean IoU", metrics["mean_iou"]), ("pixel accuracy", metrics["pixel_accuracy"])]
        named += [(f"IoU {name}", value) for name, value in metrics["per_class_iou"].items()]
        return [
            [task, split, figure, _percent(value), "not known (2)", counted]
            for figure, value in named
        ]
    matrix = metrics["confusion_matrix"]
    hits = [row[label] for label, row in enumerate(matrix)]
    counts = [sum(row) for row in matrix]
    found = [("accuracy", sum(hits), sum(counts))]
    found += [
        (f"recall {name}", hit, count)
        for name, hit, count in zip(metrics["per_class"], hits, counts, strict=True)
    ]
    return [[task, split, figure, *_with_interval(hit, count)] for figure, hit, count in found]


def _with_interval(hits: int, count: int) -> tuple[str, str, str]:
    found = wilson(hits, count)
    interval = f"{100 * found.low:.1f} to {100 * found.high:.1f} % (1)" if found else "-"
    return _percent(hits / count if count else None), interval, f"{count:,} pictures"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.2f} %"

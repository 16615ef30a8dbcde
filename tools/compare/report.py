"""A comparison as tables for people, and as values for programs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tools.common import console
from tools.compare.rows import Comparison, Row, Value
from tools.compare.runs import Column

_NOTHING = "-"
# So many differing keys are named.
_KEYS = 4

# Figures of a task: heading, and the keys that lead to it in the metrics.
_FIGURES: dict[str, list[tuple[str, tuple[str, ...]]]] = {
    "scene": [("accuracy", ("accuracy",))],
    "segmentation": [
        ("pixel accuracy", ("pixel_accuracy",)),
        ("mIoU", ("mean_iou",)),
        ("mIoU, several classes", ("multi_class", "mean_iou")),
        ("oracle: pixel accuracy", ("oracle", "pixel_accuracy")),
        ("oracle: mIoU", ("oracle", "mean_iou")),
        ("oracle: mIoU, several classes", ("oracle", "multi_class", "mean_iou")),
    ],
}
_EXPLANATION = (
    '"several classes": on the images that have more than one; "oracle": an image painted with its '
    "true scene class"
)


def report(comparison: Comparison, split: str, markdown: bool) -> str:
    """All tables with the notes below them."""
    table = _markdown_table if markdown else console.table
    title = f"{split} split; metrics, and gain over the single-task runs, in %"
    blocks = [title, table(_main_rows(comparison))]
    if notes := _notes(comparison):
        blocks.append("\n".join(notes))
    segmentation = _segmentation_rows(comparison)
    if len(segmentation) > 1:
        blocks += [table(segmentation), _EXPLANATION]
    return "\n\n".join(blocks)


def as_tree(comparison: Comparison, split: str) -> dict[str, Any]:
    """The same figures as plain values; metrics and gains as fractions."""
    return {
        "split": split,
        "rows": [_row_tree(comparison, row) for row in comparison.rows],
    }


def _main_rows(comparison: Comparison) -> list[list[str]]:
    headings = [column.heading for column in comparison.columns]
    rows = [["run", *headings, "mean", "gain", "parameters", "images", "what it is"]]
    for row in comparison.rows:
        values = [row.value(column) for column in comparison.columns]
        rows.append(
            [
                row.name,
                *map(_percent, values),
                _percent(row.mean(comparison.columns)),
                _gain(comparison, row),
                f"{row.total('parameters') / 1e6:.2f} M",
                f"{row.total('images'):,.0f}",
                row.description,
            ]
        )
    return rows


def _gain(comparison: Comparison, row: Row) -> str:
    gain = comparison.gain(row)
    if gain is None:
        return _NOTHING
    return f"{100 * gain.value:+.2f}{'' if gain.columns == row.columns else ' *'}"


def _notes(comparison: Comparison) -> list[str]:
    notes = []
    for row in comparison.rows:
        gain = comparison.gain(row)
        if gain is not None and gain.columns != row.columns:
            missing = [column.heading for column in row.columns if column not in gain.columns]
            notes.append(f"* {row.name}: without {', '.join(missing)} (no single-task figure)")
    for column, keys in comparison.mixed_singles().items():
        more = f" and {len(keys) - _KEYS} more" if len(keys) > _KEYS else ""
        notes.append(
            f"warning: the single-task runs of {column.task}, whose mean is taken, differ in "
            f"{', '.join(keys[:_KEYS])}{more}"
        )
    return notes


def _segmentation_rows(comparison: Comparison) -> list[list[str]]:
    shown = _FIGURES["segmentation"]
    rows = [["run", "task", *(heading for heading, _ in shown)]]
    for row in comparison.rows:
        for column in row.columns:
            if column.kind == "segmentation":
                figures = [_figure(row, column, keys) for _, keys in shown]
                rows.append([row.name, column.task, *map(_percent, figures)])
    return rows


def _figure(row: Row, column: Column, keys: Sequence[str]) -> Value | None:
    """Some figure in the metrics of a task, None where it is not known."""
    found = []
    for run in row.runs_of(column):
        value: Any = run.metrics[column]
        for key in keys:
            value = value.get(key) if isinstance(value, dict) else None
        found.append(value)
    return Value.of(found)


def _percent(value: Value | None) -> str:
    if value is None:
        return _NOTHING
    deviation = "" if value.deviation is None else f" ± {100 * value.deviation:.2f}"
    return f"{100 * value.mean:.2f}{deviation}"


def _markdown_table(rows: Sequence[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows]
    return "\n".join([lines[0], "|---" * len(rows[0]) + "|", *lines[1:]])


def _row_tree(comparison: Comparison, row: Row) -> dict[str, Any]:
    gain = comparison.gain(row)
    return {
        "name": row.name,
        "runs": [str(run.path.parent) for run in row.runs],
        "what": row.description,
        "tasks": [_task_tree(row, column) for column in row.columns],
        "mean": _value_tree(row.mean(comparison.columns)),
        "gain": None if gain is None else gain.value,
        "gain_over": [] if gain is None else [column.heading for column in gain.columns],
        "parameters": row.total("parameters"),
        "images": row.total("images"),
    }


def _task_tree(row: Row, column: Column) -> dict[str, Any]:
    figures = {
        ".".join(keys): _value_tree(_figure(row, column, keys)) for _, keys in _FIGURES[column.kind]
    }
    return {"task": column.task, "kind": column.kind, **figures}


def _value_tree(value: Value | None) -> dict[str, Any] | None:
    return None if value is None else vars(value)

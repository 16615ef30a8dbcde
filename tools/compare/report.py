"""A comparison as tables for people, and as values for programs."""

from typing import Any

from tools.common import console
from tools.compare.rows import Comparison, Row, Value
from tools.compare.runs import Column
from train.tasks.registry import KINDS

_NOTHING = "-"
# Columns that a report for people keeps to.
_WIDTH = 100
# So many differing keys are named.
_KEYS = 4


def report(comparison: Comparison, split: str, markdown: bool) -> str:
    """Return all tables with the notes below them."""
    title = f"{split} split; metrics, and gain over the single-task runs, in %"
    rows = _main_rows(comparison)
    if markdown:
        blocks = [title, console.table(rows, markdown)]
    else:
        blocks = [title, console.table([row[:-1] for row in rows], widest=_WIDTH)]
        blocks.append("\n".join(f"  {name}: {what}" for name, *_, what in rows[1:]))
    if notes := _notes(comparison):
        blocks.append("\n".join(notes))
    for name, kind in KINDS.items():
        rows = _figure_rows(comparison, name)
        if len(kind.compared) > 1 and len(rows) > 1:
            blocks.append(console.table(rows, markdown, _WIDTH))
            told = kind.compared_notes.items()
            blocks.append("\n".join(f'"{w}": {text}' for w, text in told if w in str(rows[0])))
    return "\n\n".join(blocks)


def as_tree(comparison: Comparison, split: str) -> dict[str, Any]:
    """Return the same figures as plain values; metrics and gains as fractions."""
    return {"split": split, "rows": [_row_tree(comparison, row) for row in comparison.rows]}


def _main_rows(comparison: Comparison) -> list[list[str]]:
    headings = [column.heading for column in comparison.columns]
    rows = [["run", *headings, "mean", "gain", "parameters", "images", "what it is"]]
    for row in comparison.rows:
        values = [row.figure(column) for column in comparison.columns]
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


def _figure_rows(comparison: Comparison, kind: str) -> list[list[str]]:
    """Return all figures of the tasks of one kind, without those that no run has."""
    of_kind = [(row, c) for row in comparison.rows for c in row.columns if c.kind == kind]
    rows = [["run", *(row.name for row, _ in of_kind)], ["task", *(c.task for _, c in of_kind)]]
    for figure in KINDS[kind].compared:
        values = [row.figure(column, figure) for row, column in of_kind]
        if any(value is not None for value in values):
            rows.append([figure.heading, *map(_percent, values)])
    return [list(row) for row in zip(*rows, strict=True)]


def _percent(value: Value | None) -> str:
    if value is None:
        return _NOTHING
    deviation = "" if value.deviation is None else f" ± {100 * value.deviation:.2f}"
    return f"{100 * value.mean:.2f}{deviation}"


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
        ".".join(figure.path): _value_tree(row.figure(column, figure))
        for figure in KINDS[column.kind].compared
    }
    return {"task": column.task, "kind": column.kind, **figures}


def _value_tree(value: Value | None) -> dict[str, Any] | None:
    return None if value is None else vars(value)

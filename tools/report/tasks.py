"""The part of a report on one task: figures, classes, confusions, and pictures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tools.report import confusion
from tools.report.markup import breakable, figure_cell, interval_text, number, row, table, text
from tools.report.runs import RunRecord
from tools.report.statistics import (
    Interval,
    as_matrix,
    class_figures,
    confused_pairs,
    iou_intervals,
    wilson,
)
from train.tasks.registry import KINDS, Figure, TaskKind, percent

if TYPE_CHECKING:
    from tools.report.looks import Look, Looks

# With more classes, the matrix needs the width of the page.
_MOST_BESIDE = 10
# What was seen of the pictures of a run, or why nothing was.
Seen = Mapping[str, "Looks | str | None"]


def figures(runs: Sequence[RunRecord], tasks: Sequence[str]) -> str:
    """Return a table for every kind of tasks: a row for every task of every run."""
    return "".join(_of_kind(runs, tasks, kind) for kind in KINDS)


def _of_kind(runs: Sequence[RunRecord], tasks: Sequence[str], kind: str) -> str:
    what = KINDS[kind]
    lines, notes = [], list[str]()
    for task in tasks:
        for run in runs:
            if run.metrics(task, "test") is None or run.kind(task) != kind:
                continue
            name = task if len(runs) == 1 else f"{task} · {run.name}"
            cells = [_figure(run, task, figure, ()) for figure in what.table]
            if kind == "scene":
                cells.insert(_after_accuracy(what), _accuracy_interval(run, task))
            lines.append(row(cells, name))
            reference = what.reference
            if reference and (run.metrics(task, "test") or {}).get(reference):
                under = [_figure(run, task, f, (reference,)) for f in what.table]
                lines.append(row(under, f"– {reference}"))  # noqa: RUF001
                notes = [str(what.caption)]
    if not lines:
        return ""
    headings = [f.heading for f in what.table]
    if kind == "scene":
        headings.insert(_after_accuracy(what), "accuracy:\n95 % interval")
    notes += [f"{word}: {meaning}" for word, meaning in what.notes.items()]
    told = f'<p class="note">{text("; ".join(notes))}.</p>' if notes else ""
    return f"{table([what.title, *headings], lines, 'stack')}{told}"


def _after_accuracy(what: TaskKind) -> int:
    """Return the place of an interval, right beside the figure that it is of."""
    return what.table.index(what.main) + 1


def _figure(run: RunRecord, task: str, figure: Figure, below: tuple[str, ...]) -> str:
    metrics = run.metrics(task, figure.split)
    shown = "-" if metrics is None else figure.text(metrics)
    if below and metrics is not None:
        shown = figure.text_of_reference(metrics[below[0]])
    if not shown:  # a reference has no such figure
        return number("")
    return figure_cell(run.name, ("tasks", task, figure.split, *below, *figure.path), shown)


def _accuracy_interval(run: RunRecord, task: str) -> str:
    counts = as_matrix(run.metrics(task, "test") or {})
    return number(interval_text(wilson(int(np.trace(counts)), int(counts.sum()))))


def section(task: str, runs: Sequence[RunRecord], seen: Seen) -> str:
    """Return all about a task but its pictures with attention."""
    own = [run for run in runs if run.metrics(task, "test") is not None]
    if not own:
        return '<p class="note">Figures of the classes come with the end of the run.</p>'
    parts = [_classes(task, own, seen)]
    for run in own:
        metrics = run.metrics(task, "test") or {}
        heading = "" if len(runs) == 1 else f"<h4>{text(run.name)}</h4>"
        parts.append(
            f'<div class="run">{heading}{"".join(_of_run(task, run, metrics, seen))}</div>'
        )
    return "".join(parts)


def _classes(task: str, runs: Sequence[RunRecord], seen: Seen) -> str:
    kind = runs[0].kind(task)
    key = "per_class" if kind == "scene" else "per_class_iou"
    of_runs = [run.metrics(task, "test") or {} for run in runs]
    what = "recall" if kind == "scene" else "IoU"
    headings = ["class", "images" if kind == "scene" else "pixels"]
    for run in runs:
        prefix = "" if len(runs) == 1 else f"{run.name}: "
        headings += [f"{prefix}{what}", f"{(prefix or f'{what}:').strip()}\n95 % interval", ""]
        headings += ["precision", "F1"] if len(runs) == 1 else []
    intervals = [_intervals(task, run, m, seen) for run, m in zip(runs, of_runs, strict=True)]
    counts = [class_figures(as_matrix(metrics)) for metrics in of_runs]
    lines = []
    for i, name in enumerate(of_runs[0][key]):
        cells = [number(f"{counts[0][i].total:,}")]
        for run, metrics, own, figures_ in zip(runs, of_runs, intervals, counts, strict=True):
            value = metrics[key].get(name)
            path = ("tasks", task, "test", key, name)
            cells += [
                figure_cell(run.name, path, percent(value)),
                number(interval_text(own[i])),
                f'<td class="bar">{_bar(value, own[i])}</td>',
            ]
            if len(runs) == 1:
                cells += [number(percent(figures_[i].precision)), number(percent(figures_[i].f1))]
        lines.append(row(cells, name))
    how = (
        "Interval: score interval of a proportion (Wilson)."
        if kind == "scene"
        else "Interval: from images drawn with replacement, where the records are on this disk."
    )
    css = "classes stack" if len(runs) == 1 else "classes stack several"
    return f'<h3>Classes</h3>{table(headings, lines, css)}<p class="note">{how}</p>'


def _intervals(
    task: str, run: RunRecord, metrics: dict[str, Any], seen: Seen
) -> Sequence[Interval | None]:
    counts = as_matrix(metrics)
    if run.kind(task) == "scene":
        return [wilson(f.right, f.total) for f in class_figures(counts)]
    look = _look(seen, run, task)
    # Those of other answers would be intervals of other figures.
    if look is None or look.matrices is None or not np.array_equal(look.matrix, counts):
        return [None] * len(counts)
    return iou_intervals(look.matrices)


def _bar(value: float | None, interval: Interval | None) -> str:
    if value is None:
        return ""
    whisker = ""
    if interval is not None:
        low, high = 100 * interval.low, 100 * interval.high
        whisker = f'<line x1="{low:.1f}" x2="{high:.1f}" y1="6" y2="6"/>'
    return (
        '<svg viewBox="0 0 100 12" preserveAspectRatio="none" aria-hidden="true">'
        f'<rect class="track" width="100" height="12"/>'
        f'<rect class="value" width="{100 * value:.1f}" height="12"/>{whisker}</svg>'
    )


def _of_run(task: str, run: RunRecord, metrics: dict[str, Any], seen: Seen) -> Iterator[str]:
    kind, counts = run.kind(task), as_matrix(metrics)
    classes = list(metrics["per_class" if kind == "scene" else "per_class_iou"])
    unit = "images" if kind == "scene" else "share of the row in percent, of pixels"
    beside = " beside" if len(classes) <= _MOST_BESIDE else ""
    yield (
        f'<div class="both{beside}"><div><h3>Confusions</h3>'
        f"{confusion.matrix(counts, classes, task, of_pixels=kind != 'scene')}"
        f'<p class="note">Rows: true class. Columns: answer. Cells: {unit}.</p></div>'
        f"<div>{_pairs(task, run, counts, classes, seen)}</div></div>"
    )
    looks = seen.get(run.name)
    if looks is None:
        return
    if isinstance(looks, str):
        yield f'<p class="note">No pictures: {text(looks)}</p>'
        return
    from tools.report import pictures

    look = looks.tasks[task]
    agreed = (
        None if look.matrix.sum() != counts.sum() else bool(np.array_equal(look.matrix, counts))
    )
    if kind == "scene":
        yield f"<h3>Most confident mistakes</h3>{pictures.mistakes(looks, task)}"
    else:
        yield f"<h3>Truth and answer</h3>{pictures.painted(looks, task)}"
    yield pictures.how_looked(looks, [task], agreed)


def _pairs(task: str, run: RunRecord, counts: Any, classes: Sequence[str], seen: Seen) -> str:
    pairs = confused_pairs(counts)
    if not pairs:
        return '<p class="note">No class was taken for another.</p>'
    looks = seen.get(run.name)
    shown = None if looks is None or isinstance(looks, str) or run.kind(task) != "scene" else looks
    lines = []
    for pair in pairs:
        cells = [f'<td class="bad">{breakable(classes[pair.answered])}</td>']
        cells += [number(f"{pair.count:,}"), number(percent(pair.share, 1))]
        if shown is not None:
            from tools.report import pictures

            cells.append(pictures.examples(shown, task, pair))
        lines.append(row(cells, classes[pair.true]))
    unit = "images" if run.kind(task) == "scene" else "pixels"
    headings = ["true class", "taken for", unit, "of the class", *(["such as"] if shown else [])]
    return f"<h3>Most confused</h3>{table(headings, lines, 'pairs stack')}"


def _look(seen: Seen, run: RunRecord, task: str) -> Look | None:
    looks = seen.get(run.name)
    return None if looks is None or isinstance(looks, str) else looks.tasks.get(task)

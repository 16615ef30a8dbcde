"""The head and the end of a report: what the runs are, what happened, settings and versions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import Any

import yaml

from tools.report.markup import figure_cell, row, table, text
from tools.report.runs import RunRecord, Values
from train.tasks.registry import percent

# Of more, the reader decides whether to see them.
_MOST_EVENTS = 12


def _count(value: Any) -> str:
    return f"{value:,}"


def _rate(value: Any) -> str:
    return f"{value:,.1f}"


def duration(seconds: float) -> str:
    """Return seconds as h:mm:ss."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}"


def _megabytes(value: Any) -> str:
    return f"{value / 1e6:,.2f} MB" if value else "nothing"


# What is told of every run: its name, where it stands in summary.json, how it is written.
_FIGURES: tuple[tuple[str, tuple[str, ...], Callable[[Any], str]], ...] = (
    ("steps", ("step",), _count),
    ("images trained", ("images_seen",), _count),
    ("ranks", ("world_size",), _count),
    ("device", ("device",), str),
    ("time", ("wall_seconds",), duration),
    ("images/s, all ranks", ("images_per_second",), _rate),
    ("time waiting for data", ("data_wait",), percent),
    ("time lost to checkpoints", ("saving",), percent),
    ("parameters, shared", ("parameters", "shared"), _count),
    ("parameters, tasks", ("parameters", "tasks"), _count),
    ("reduced in each step", ("bytes_reduced_per_step",), _megabytes),
    ("skipped steps", ("skipped_steps",), _count),
    ("best on val: step", ("best", "step"), _count),
    ("best on val: mean", ("best", "validation", "mean"), percent),
)


def status(run: RunRecord) -> str:
    """Return whether a run is completed, as a mark."""
    if run.summary is None:
        return f'<span class="status open">at step {run.step:,} of {run.steps:,}</span>'
    return f'<span class="status done">{text(run.summary["status"])}</span>'


def key_figures(runs: Sequence[RunRecord]) -> str:
    """Return the figures of whole runs: tiles for one, a table for several."""
    shown = [(n, p, f) for n, p, f in _FIGURES if any(_value(r, p) is not None for r in runs)]
    if len(runs) > 1:
        lines = [
            row((figure_cell(r.name, p, _written(r, p, f)) for r in runs), n) for n, p, f in shown
        ]
        lines.insert(0, row((f"<td>{status(run)}</td>" for run in runs), "status"))
        return table(["", *(run.name for run in runs)], lines, "stack")
    [run] = runs
    tiles = "".join(
        f'<div><dt>{text(name)}</dt><dd data-run="{text(run.name)}" '
        f'data-figure="{text("/".join(path))}">{text(_written(run, path, form))}</dd></div>'
        for name, path, form in shown
    )
    return f'<dl class="tiles">{tiles}</dl>'


def _value(run: RunRecord, path: Sequence[str]) -> Any:
    value: Any = run.summary if run.summary is not None else {"step": run.step}
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _written(run: RunRecord, path: Sequence[str], form: Callable[[Any], str]) -> str:
    value = _value(run, path)
    return "-" if value is None else form(value)


def events(runs: Sequence[RunRecord]) -> str:
    """Return what has happened to the runs besides training."""
    items = []
    for run in runs:
        # A run that is killed again and again goes on from the same step.
        for line, same in groupby(_events(run, "" if len(runs) == 1 else f"{run.name}: ")):
            times = len(list(same))
            items.append(f"<li>{text(line)}{f' ({times} times)' if times > 1 else ''}</li>")
    listed = f"<ul>{''.join(items)}</ul>" if items else ""
    if len(items) <= _MOST_EVENTS:
        return listed
    return f"<details><summary>{len(items)} events</summary>{listed}</details>"


def _events(run: RunRecord, prefix: str) -> Iterator[str]:
    for line in run.lines:
        step, kind = f"{prefix}step {line['step']:,}", line.get("kind")
        if kind == "resumed":
            before, now = line.get("ranks_before"), line.get("ranks")
            others = "" if before in (None, now) else f", with {_ranks(now)} after {before}"
            yield f"{step}: resumed{others}"
        elif kind == "changed":
            yield f"{step}: {line.get('key')} is {line.get('now')}, after {line.get('before')}"
        elif kind == "skipped" or line.get("skipped_steps"):
            yield f"{step}: {line.get('skipped_steps')} step(s) skipped, the gradient not finite"
    storage = (run.summary or {}).get("storage") or {}
    if storage.get("missing"):
        yield f"{prefix}{len(storage['missing'])} of the results are missing in object storage"


def _ranks(number: Any) -> str:
    return "1 rank" if number == 1 else f"{number} ranks"


def settings(runs: Sequence[RunRecord]) -> str:
    """Return the configurations; of several runs, first what differs."""
    parts = []
    if len(runs) > 1:
        parts.append(_differences(runs))
    for run in runs:
        written = yaml.safe_dump(run.config, sort_keys=False, allow_unicode=True)
        title = "config.yaml" if len(runs) == 1 else f"{run.name}: config.yaml"
        parts.append(
            f"<details><summary>{text(title)}</summary><pre>{text(written)}</pre></details>"
        )
    lines = [
        row(
            (figure_cell(r.name, ("versions", k), _written(r, ("versions", k), str)) for r in runs),
            k,
        )
        for k in dict.fromkeys(k for r in runs for k in (r.summary or {}).get("versions", {}))
    ]
    if lines:
        css = "versions stack" if len(runs) > 1 else "versions"
        parts.append(table(["versions", *(run.name for run in runs)], lines, css))
    return "".join(parts)


def _differences(runs: Sequence[RunRecord]) -> str:
    flat = [_flat(run.config) for run in runs]
    keys = dict.fromkeys(key for of_run in flat for key in of_run)
    lines = [
        row((f"<td>{text(of_run.get(key, '-'))}</td>" for of_run in flat), key)
        for key in keys
        if len({str(of_run.get(key)) for of_run in flat}) > 1
    ]
    if not lines:
        return '<p class="note">The configurations are the same.</p>'
    return table(["what differs", *(run.name for run in runs)], lines, "stack")


def _flat(tree: Values, prefix: str = "") -> Values:
    flat: Values = {}
    for key, value in tree.items():
        inner = _flat(value, f"{prefix}{key}.") if isinstance(value, dict) and value else None
        flat.update(inner if inner is not None else {f"{prefix}{key}": value})
    return flat

"""What is shown of a run that goes on: tables of rich."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tools.report.overview import duration
from tools.watch.source import State, Values
from train.tasks.registry import KINDS, kind_of, percent

# Lines of training that the time left is estimated from.
_RECENT = 20
# A run that has written nothing for so long may hang.
_SILENT = 120.0
_BAR = 40


def headline(state: State, name: str) -> str:
    """Return how far a run is, in a line."""
    steps, done = int(state.config["schedule"]["steps"]), _step(state)
    parts = [f"{name}: step {done:,} of {steps:,}"]
    if state.summary is not None:
        return f"{parts[0]}, {state.summary.get('status')}"
    if not state.lines:
        return f"{name}: no step is done yet"
    train = [line for line in state.lines if line.get("kind") == "train"]
    if (left := seconds_left(train, steps)) is not None:
        parts.append(f"{duration(left)} left")
    if train:
        parts.append(f"{train[-1].get('images_per_second', 0):,.0f} images/s")
        parts.append(f"{percent(train[-1].get('data_wait'), 1)} waiting for data")
    return ", ".join(parts)


def seconds_left(train: Sequence[Values], steps: int) -> float | None:
    """Return an estimate of the time to the end, from the last lines; None if there are too few.

    Evaluations and checkpoints between those lines count, as others will come.
    """
    recent = train[-_RECENT:]
    # After a pause between two starts the lines before it say nothing.
    if len(recent) < 2 or recent[-1]["step"] <= recent[0]["step"]:
        return None
    per_step = (recent[-1]["time"] - recent[0]["time"]) / (recent[-1]["step"] - recent[0]["step"])
    return float(max(0.0, per_step * (steps - recent[-1]["step"])))


def view(state: State, name: str) -> RenderableType:
    """Return all that is shown."""
    steps = int(state.config["schedule"]["steps"])
    parts: list[RenderableType] = [Text(headline(state, name), style="bold")]
    if state.summary is None:
        parts.append(_bar(_step(state) / steps))
    parts.append(_tasks(state))
    parts += [Text(line, style="dim") for line in _signs_of_life(state)]
    parts += [Text(line, style="yellow") for line in state.warnings]
    return Group(*parts)


def _bar(share: float) -> Text:
    done = round(_BAR * min(1.0, share))
    return Text("━" * done, style="green").append("━" * (_BAR - done), style="bright_black")


def _step(state: State) -> int:
    if state.summary is not None:
        return int(state.summary["step"])
    return int(state.lines[-1]["step"]) if state.lines else 0


def _tasks(state: State) -> Table:
    """Return a row for every task: its loss, and its main metric on val."""
    table = Table()
    headings = ("loss", "weight", "metric", "val", "at step", "best val", "at step")
    table.add_column("task")
    for heading in headings:
        table.add_column(heading, justify="right")
    train = [line for line in state.lines if line.get("kind") == "train"]
    for task in state.config["tasks"]:
        last = (train[-1].get("tasks", {}).get(task) if train else None) or {}
        what = KINDS[kind_of(state.config["tasks"][task] or {})].main
        seen = [
            (value, int(line["step"]))
            for line in state.lines
            if line.get("kind") == "evaluation" and line.get("split") == "val"
            if (value := what.of(line.get("tasks", {}).get(task))) is not None
        ]
        newest, best = (seen[-1], max(seen)) if seen else (None, None)
        cells = [_number(last.get("loss")), _number(last.get("weight")), what.heading]
        for found in (newest, best):
            cells += ["-", "-"] if found is None else [percent(found[0]), f"{found[1]:,}"]
        table.add_row(Text(task), *cells)
    return table


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, (int, float)) else "-"


def _signs_of_life(state: State) -> list[str]:
    """Return when the run and the logs of its ranks were written to last."""
    if state.summary is not None or not state.lines:
        return []
    age = max(0.0, time.time() - float(state.lines[-1].get("time", 0)))
    lines = [f"last line of the metrics {duration(age)} ago"]
    if age > _SILENT:
        lines[0] += ": it may have stopped, or waits"
    if state.logs:
        name, newest = min(state.logs.items(), key=lambda item: item[1])
        lines.append(f"{name} written {duration(newest)} ago, the last of {len(state.logs)} logs")
    return lines

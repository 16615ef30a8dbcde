"""The section of a report with the time of every rank: which of them holds the others up."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tools.report.markup import number, row, table, text
from tools.report.runs import RunRecord
from train.tasks.registry import percent

# Of larger jobs, those that wait longest for their data.
_MOST_ROWS = 16
_HEADINGS = (
    "",
    "ms per step",
    "ms per step,\nslowest interval",
    "waiting for data",
    "waiting for data,\nworst interval",
)
_NOTE = (
    "A step ends on all ranks together, so a rank that is slow shows in what it waits for: the one "
    "that waits longest for its data holds the others up. Intervals are those between two "
    "consolidation points."
)


def section(runs: Sequence[RunRecord]) -> str:
    """Return a table for every run of several ranks; nothing if there is none."""
    parts = []
    for run in runs:
        # Since the number of ranks has changed last.
        lines = run.of_kind("ranks")
        lines = [v for v in lines if len(v["step_seconds"]) == len(lines[-1]["step_seconds"])]
        if lines:
            heading = "" if len(runs) == 1 else f"<h3>{text(run.name)}</h3>"
            seconds = np.array([line["step_seconds"] for line in lines])
            waiting = np.array([line["data_wait"] for line in lines])
            parts.append(f"{heading}{_table(seconds, waiting)}")
    return f'<p class="note">{_NOTE}</p>{"".join(parts)}' if parts else ""


def _table(seconds: npt.NDArray[np.float64], waiting: npt.NDArray[np.float64]) -> str:
    """Intervals x ranks, seconds and shares -> a row for every rank."""
    ranks = range(seconds.shape[1])
    shown = sorted(ranks, key=lambda rank: -waiting[:, rank].mean())[:_MOST_ROWS]
    rows = [
        row(
            (
                number(f"{1e3 * seconds[:, rank].mean():,.1f}"),
                number(f"{1e3 * seconds[:, rank].max():,.1f}"),
                number(percent(float(waiting[:, rank].mean()))),
                number(percent(float(waiting[:, rank].max()))),
            ),
            f"rank {rank}",
        )
        for rank in sorted(shown)
    ]
    left = len(ranks) - len(shown)
    more = f'<p class="note">and {left} more ranks, which wait less</p>' if left else ""
    return table(_HEADINGS, rows, "ranks stack") + more

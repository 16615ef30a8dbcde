"""The tables of plan-scale."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tools.common import console
from tools.plan_scale.check import Row
from tools.plan_scale.model import Branches, Step

Rows = list[list[str]]

_KINDS = {
    "alone": "alone",
    "mpi": "mpirun (MPI)",
    "launcher": "our launcher (shared memory)",
}


def table(rows: Rows, markdown: bool) -> str:
    """Rows, the first of which holds the headings, for a terminal or a Markdown page."""
    if not markdown:
        return console.table(rows)
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([lines[0], "|---" * len(rows[0]) + "|", *lines[1:]])


def predictions(
    steps: Sequence[tuple[Branches, Step, int | None]], message: Mapping[Branches, int]
) -> Rows:
    """A row for every predicted step.

    Args:
        steps: Branches, the step, and the images per data set and rank for 90 % efficiency.
        message: Bytes reduced in a step for every choice of branches.
    """
    rows = [
        [
            "ranks, branches",
            *("step", "images/s", "efficiency", "reduced", "reduction", "of the step"),
            "images for 90 %",
        ]
    ]
    for branches, step, images in steps:
        rows.append(
            [
                f"{step.ranks:,} {branches}",
                f"{1e3 * step.seconds:.2f} ms",
                f"{step.images_per_second:,.0f}",
                f"{100 * step.efficiency:.1f} %",
                f"{message[branches] / 1e6:.2f} MB",
                f"{1e3 * step.reduction:.2f} ms",
                f"{100 * step.reduction_share:.1f} %",
                "-" if images is None else f"{images:,}",
            ]
        )
    return rows


def checks(rows: Sequence[Row]) -> Rows:
    """Measured and predicted times of a step."""
    table = [
        [
            *("started by", "ranks", "branches", "measured"),
            *("predicted", "compute", "waiting", "reduction", "error"),
        ]
    ]
    for row in rows:
        times = (row.measured, row.predicted, row.compute, row.waiting, row.reduction)
        table.append(
            [
                _KINDS[row.kind],
                str(row.ranks),
                row.branches,
                *(f"{1e3 * seconds:.1f} ms" for seconds in times),
                f"{100 * row.error:+.1f} %",
            ]
        )
    return table


def step_tree(branches: str, step: Step, message: int, images: int | None) -> dict[str, Any]:
    """A predicted step as plain values; times in seconds."""
    return {
        "branches": branches,
        **vars(step),
        "seconds": step.seconds,
        "images_per_second": step.images_per_second,
        "efficiency": step.efficiency,
        "reduction_share": step.reduction_share,
        "bytes_reduced": message,
        "images_for_90_percent": images,
    }

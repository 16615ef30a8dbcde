"""Runs the exercises, each in a process of its own, so that its memory is its own."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tools.plan_scale.exercises import EXERCISES
from train.errors import UserError

_ROOT = Path(__file__).resolve().parents[2]


def exercise(name: str) -> dict[str, Any]:
    """Runs one exercise: {"found": what came of it, "seconds", "megabytes": peak of its process}.

    Raises:
        UserError: It failed; the message has the last line of what it said.
    """
    with tempfile.TemporaryDirectory(prefix="plan-scale-") as folder:
        done = subprocess.run(
            [sys.executable, "-m", "tools.plan_scale.exercises", name, folder],
            cwd=_ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        raise UserError(f"{name}: {(done.stderr.splitlines() or ['no reason given'])[-1]}")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def rows(results: dict[str, dict[str, Any]]) -> list[list[str]]:
    """A row for every exercise, the headings first."""
    table = [["exercise", "result", "seconds", "peak memory"]]
    for name, result in results.items():
        found = ", ".join(f"{value:,} {key}" for key, value in result["found"].items())
        times = f"{result['seconds']:.1f} s", f"{result['megabytes']:.0f} MB"
        table.append([name, found, *times])
    return table


def names() -> list[str]:
    """The exercises, in their order."""
    return list(EXERCISES)

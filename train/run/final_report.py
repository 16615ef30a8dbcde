"""The report of a completed run, written by a process of its own: none of its faults is the run's.

On an NPU, too, it computes on the CPU: the NPU is not asked to compile once more for a page.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from train.environment import ERROR, HEARTBEAT

REPORT = "report.html"

_ROOT = Path(__file__).resolve().parents[2]
_LONGEST, _LONGEST_WITHOUT = 300.0, 60.0
_BETWEEN_BEATS = 0.5
# What makes a process one rank of many.
_OF_A_RANK = ("MS_ROLE", "MS_SCHED_", "MS_WORKER_NUM", "MS_NODE_ID", "RANK_", "OMPI_", "PMIX_")


def write_report(folder: Path, alive: Callable[[], None], say: Callable[[str], None]) -> None:
    """Write ``report.html`` into a run folder, unless it is there; or say in a line why not.

    Args:
        folder: The run folder.
        alive: Called often, so that a watchdog sees that this process does something.
        say: Called with a line.
    """
    if (path := folder / REPORT).exists():
        return
    command = [sys.executable, "-m", "tools", "report", str(folder.absolute())]
    again = f"(python -m tools report {folder} tries again)"
    problem = _run([*command, "--device", "CPU"], _LONGEST, alive)
    if problem is not None and _run([*command, "--no-pictures"], _LONGEST_WITHOUT, alive) is None:
        say(f"warning: {REPORT} has no pictures: {problem} {again}")
        problem = None
    say(f"Report: {path}" if problem is None else f"warning: no {REPORT}: {problem} {again}")


def _run(command: list[str], seconds: float, alive: Callable[[], None]) -> str | None:
    """Run a command in the current folder; return what is wrong, if anything is."""
    try:
        process = subprocess.Popen(
            command,
            env=_environment(os.environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )
    except OSError as error:
        return str(error)
    deadline = time.monotonic() + seconds
    while True:
        try:
            _, told = process.communicate(timeout=_BETWEEN_BEATS)
            break
        except subprocess.TimeoutExpired:
            alive()
        if time.monotonic() > deadline:
            process.kill()
            process.communicate()
            return f"it took more than {seconds:.0f} s"
    lines = told.strip().splitlines()
    return None if process.returncode == 0 else lines[-1] if lines else f"code {process.returncode}"


def _environment(ours: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of a process that belongs to no job, and finds this project."""
    rest = {k: v for k, v in ours.items() if not k.startswith((*_OF_A_RANK, HEARTBEAT, ERROR))}
    paths = [str(_ROOT), *filter(None, [rest.get("PYTHONPATH")])]
    return {**rest, "PYTHONPATH": os.pathsep.join(paths)}

"""What is looked for after a fault: processes, leftovers, and anything that is not quite right."""

import json
import re
import time
from pathlib import Path
from typing import Any

from tools.drill.job import NotSurvived, processes
from train.run.checkpoint import Arrays, Checkpoint, load_checkpoint
from train.run.checkpoint_folder import checkpoints_in
from train.storage.run_download import step_of

_GONE_WITHIN = 20.0
# What is written, removed or fetched by half, whoever did it.
_HALF = re.compile(r"\..+\.(\d+|removed|fetched|part)|\.owner")
# Of a checkpoint, all that a run has learned.
PARTS = ("model", "optimizer", "average")
_SHARED_MEMORY = Path("/dev/shm")


def require_no_process(folder: Path) -> None:
    """Check that nothing of a job is left that runs.

    Raises:
        NotSurvived: Names the processes.
    """
    deadline = time.monotonic() + _GONE_WITHIN
    while left := processes(folder):
        if time.monotonic() > deadline:
            raise NotSurvived(f"still running after the end of the job: {sorted(left)}")
        time.sleep(0.02)


def shared_memory() -> set[Path]:
    """Return what our jobs have in the memory that processes share, by its name there."""
    return set(_SHARED_MEMORY.glob("mtln-*"))


def leftovers(run_folder: Path, temporary: Path, before: set[Path]) -> list[str]:
    """Return what an ended job should have removed.

    Args:
        run_folder: The run folder.
        temporary: The TMPDIR of the job, which it had alone.
        before: What was in shared memory before.
    """
    halves = {path for path in run_folder.rglob(".*") if _HALF.fullmatch(path.name)}
    others = {p for p in shared_memory() - before if _stays(p)}
    return sorted(map(str, {*halves, *temporary.iterdir(), *others}))


def _stays(path: Path) -> bool:
    """Return whether nobody removes it: other jobs have their own there for a moment."""
    deadline = time.monotonic() + 5.0
    while path.exists():
        if time.monotonic() > deadline:
            return True
        time.sleep(0.1)
    return False


def newest_step(run_folder: Path) -> int:
    """Return the step of the newest whole checkpoint, 0 without one."""
    return max(whole_checkpoints(run_folder), default=0)


def whole_checkpoints(run_folder: Path) -> dict[int, Checkpoint]:
    """Return the checkpoints that count, by their step."""
    found = {}
    for path in checkpoints_in(run_folder / "checkpoints"):
        try:
            checkpoint = load_checkpoint(path)
        except ValueError:
            continue
        if checkpoint.step == step_of(path.name):
            found[checkpoint.step] = checkpoint
    return found


def require_equal(run_folder: Path, reference: Path) -> None:
    """Check that every checkpoint that counts is that of the undisturbed run, bit for bit.

    Raises:
        NotSurvived: Names checkpoint and arrays.
    """
    wanted = whole_checkpoints(reference)
    for step, checkpoint in whole_checkpoints(run_folder).items():
        if step not in wanted:
            raise NotSurvived(f"there is a checkpoint of step {step}, which is no point to save at")
        other = wanted[step]
        different = [
            f"{part}: {name}"
            for part in PARTS
            for name in _different(getattr(checkpoint, part), getattr(other, part))
        ]
        if different:
            more = f" and {len(different) - 1} more" if different[1:] else ""
            raise NotSurvived(
                f"checkpoint {step} differs from the undisturbed run's in {different[0]}{more}"
            )


def require_same_end(run_folder: Path, reference: Path) -> None:
    """Check that a run has come to the end of the undisturbed one, with the same results.

    Raises:
        NotSurvived: Says what differs.
    """
    require_equal(run_folder, reference)
    try:
        one, other = (json.loads((f / "summary.json").read_text()) for f in (run_folder, reference))
    except (OSError, ValueError) as error:
        raise NotSurvived(f"no summary at the end: {error}") from None
    if newest_step(run_folder) != other["step"]:
        raise NotSurvived(f"no checkpoint of step {other['step']} at the end")
    if one["tasks"] != other["tasks"]:
        raise NotSurvived("the results in summary.json are not those of the undisturbed run")


def require_same_steps(run_folder: Path, reference: Path) -> None:
    """Check that metrics.jsonl has every step of the undisturbed run once, with the same loss.

    Raises:
        NotSurvived: It has not.
    """
    one, other = (_losses(folder) for folder in (run_folder, reference))
    if one != other:
        raise NotSurvived(
            "metrics.jsonl has other steps or losses than that of the undisturbed run"
        )


def require_lines(run_folder: Path) -> None:
    """Check that whatever is in metrics.jsonl can be read.

    Raises:
        NotSurvived: It cannot.
    """
    _losses(run_folder)


def first_step_since(moment: float, run_folder: Path) -> float | None:
    """Return when the first step after a moment was logged, both in seconds since 1970."""
    now = time.time()  # what is later was written by a clock that had jumped
    times = [row["time"] for row in _steps(run_folder) if moment <= row["time"] <= now]
    return min(times, default=None)


def _losses(run_folder: Path) -> list[tuple[int, float]]:
    return [(row["step"], row["loss"]) for row in _steps(run_folder)]


def _steps(run_folder: Path) -> list[dict[str, Any]]:
    try:
        lines = (run_folder / "metrics.jsonl").read_text().splitlines()
        rows = [json.loads(line) for line in lines]
    except (OSError, ValueError) as error:
        raise NotSurvived(f"metrics.jsonl: {error}") from None
    return [row for row in rows if row["kind"] == "train"]


def _different(one: Arrays, other: Arrays) -> list[str]:
    if one.keys() != other.keys():
        return sorted(one.keys() ^ other.keys())
    return [name for name in one if one[name].tobytes() != other[name].tobytes()]

"""The head of a report: what happened to a run."""

from pathlib import Path
from typing import Any

from tools.report.overview import events
from tools.report.runs import RunRecord


def run_with(*lines: dict[str, Any], name: str = "run") -> RunRecord:
    train = {"step": 1, "kind": "train", "skipped_steps": 0}
    return RunRecord(name, Path(name), {"schedule": {"steps": 4}}, [train, *lines], None)


def resumed(step: int, before: int | None, ranks: int) -> dict[str, Any]:
    return {"step": step, "kind": "resumed", "ranks_before": before, "ranks": ranks}


def test_every_resume_is_told() -> None:
    """With the ranks only where they are others; several from one checkpoint in one line."""
    run = run_with(
        resumed(1100, 2, 2), resumed(1100, 2, 2), resumed(1200, 2, 1), resumed(1300, None, 3)
    )
    assert events([run]) == (
        "<ul><li>step 1,100: resumed (2 times)</li>"
        "<li>step 1,200: resumed, with 1 rank after 2</li><li>step 1,300: resumed</li></ul>"
    )


def test_nothing_has_happened() -> None:
    assert events([run_with(), run_with(name="other")]) == ""


def test_of_several_runs_each_is_named() -> None:
    told = events([run_with(), run_with(resumed(2, 1, 1), name="other")])
    assert told == "<ul><li>other: step 2: resumed</li></ul>"


def test_many_events_are_folded() -> None:
    told = events([run_with(*(resumed(step, 1, 1) for step in range(20)))])
    assert told.startswith("<details><summary>20 events</summary><ul>")
    assert told.count("<li>") == 20

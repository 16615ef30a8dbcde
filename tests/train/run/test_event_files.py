"""Event files, read by TensorBoard's own reader."""

import json
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from train.run.event_files import EventFiles


def train_line(step: int, loss: float = 1.5, **more: Any) -> dict[str, Any]:
    tasks = {"roofs": {"loss": loss, "weight": 1.0}}
    line = {"step": step, "time": 1e9 + step, "kind": "train", "loss": loss, "tasks": tasks}
    return {**line, "learning_rate": 0.1, **more}


def evaluation(step: int, accuracy: float | None) -> dict[str, Any]:
    tasks = {"roofs": {"accuracy": accuracy, "images": 12}}
    return {
        "step": step, "time": 1e9 + step, "kind": "evaluation", "split": "val", "tasks": tasks
    }  # fmt: skip


def read(folder: Path) -> EventAccumulator:
    reader = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    reader.Reload()
    return reader


def steps(reader: EventAccumulator, tag: str) -> list[tuple[int, float]]:
    return [(event.step, event.value) for event in reader.Scalars(tag)]


def refuse(line: str) -> None:
    pytest.fail(line)


def test_every_line_is_seen_at_once(tmp_path: Path) -> None:
    metrics = tmp_path / "metrics.jsonl"
    metrics.write_text("")
    files = EventFiles(tmp_path / "tensorboard", refuse)
    files.begin(metrics)
    files.add(train_line(10))
    assert steps(read(tmp_path / "tensorboard"), "loss/roofs") == [(10, 1.5)]
    files.add(evaluation(10, 0.25))
    files.add(evaluation(20, None))
    files.add({"step": 20, "time": 1.0, "kind": "changed", "key": "seed", "before": 1, "now": 2})
    reader = read(tmp_path / "tensorboard")
    assert steps(reader, "val_accuracy/roofs") == [(10, 0.25)]
    assert reader.Scalars("val_accuracy/roofs")[0].wall_time == 1e9 + 10
    [(step, rate)] = steps(reader, "run/learning_rate")
    assert step == 10 and rate == pytest.approx(0.1)


def test_no_step_is_there_twice_after_a_resume(tmp_path: Path) -> None:
    """Also for a reader that looked on, and for one that knows nothing of restarts."""
    metrics, folder = tmp_path / "metrics.jsonl", tmp_path / "tensorboard"
    metrics.write_text("")
    files = EventFiles(folder, refuse)
    files.begin(metrics)
    for step in (10, 20, 30):
        files.add(train_line(step, loss=step))
    watching = read(folder)
    assert steps(watching, "loss/sum") == [(10, 10.0), (20, 20.0), (30, 30.0)]
    # Killed at step 30, it goes on from step 20: metrics.jsonl ends there.
    lines = [json.dumps(train_line(step, loss=step)) for step in (10, 20)]
    metrics.write_text("\n".join([*lines, '{"step": 30, "ti', ""]))
    again = EventFiles(folder, refuse)
    again.begin(metrics)
    again.add(train_line(30, loss=31))
    expected = [(10, 10.0), (20, 20.0), (30, 31.0)]
    assert steps(read(folder), "loss/sum") == expected
    watching.Reload()
    assert steps(watching, "loss/sum") == expected
    assert [path.stat().st_size > 0 for path in sorted(folder.iterdir())] == [False, True]


def test_a_disk_that_refuses_ends_event_files_alone(tmp_path: Path) -> None:
    metrics = tmp_path / "metrics.jsonl"
    metrics.write_text("")
    (tmp_path / "tensorboard").write_text("in the way")
    said: list[str] = []
    files = EventFiles(tmp_path / "tensorboard", said.append)
    files.begin(metrics)
    files.add(train_line(10))
    assert len(said) == 1 and said[0].startswith("warning: ") and "File exists" in said[0]

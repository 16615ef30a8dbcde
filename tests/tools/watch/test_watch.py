"""What ``python -m tools watch`` shows of a run, here and in object storage, and how it ends."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.object_store import ObjectStore
from tests.paths import ROOT
from tests.tools.commands import Tools

CONFIG = {
    "schedule": {"steps": 400},
    "tasks": {"roofs": {"kind": "scene"}, "cover": {"kind": "segmentation"}},
}


def train_line(step: int, when: float) -> dict[str, Any]:
    tasks = {"roofs": {"loss": 2.5 / step, "weight": 1.0}, "cover": {"loss": 0.25, "weight": 0.75}}
    return {
        "step": step, "time": when, "images": 8 * step, "kind": "train", "loss": 3.0,
        "tasks": tasks, "images_per_second": 1234.5, "data_wait": 0.0125,
    }  # fmt: skip


def evaluation(step: int, accuracy: float, iou: float | None) -> dict[str, Any]:
    tasks = {"roofs": {"accuracy": accuracy}, "cover": {"kind": "segmentation", "mean_iou": iou}}
    return {"step": step, "time": 0.0, "kind": "evaluation", "split": "val", "tasks": tasks}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """At step 300 of 400, ten steps a second."""
    folder = tmp_path / "run"
    (folder / "logs/attempt_1").mkdir(parents=True)
    (folder / "logs/attempt_0").mkdir()
    (folder / "config.yaml").write_text(yaml.safe_dump(CONFIG))
    now = time.time()
    lines = [train_line(step, now - (300 - step) / 10) for step in range(10, 310, 10)]
    lines += [evaluation(100, 0.75, 0.5), evaluation(200, 0.5, None)]
    lines.sort(key=lambda line: float(line["step"]))
    texts = [json.dumps(line) for line in lines]
    (folder / "metrics.jsonl").write_text("\n".join([*texts, '{"step": 310, "ti']))
    (folder / "logs/attempt_0/worker_0.log").write_text("warning: of an earlier attempt\n")
    (folder / "logs/attempt_1/worker_0.log").write_text("step 300\nwarning: a disk is full\n")
    (folder / "logs/attempt_1/worker_1.log").write_text("nothing\n")
    return folder


def rows(out: str) -> dict[str, list[str]]:
    cells = [[c.strip() for c in line.split("│")[1:-1]] for line in out.splitlines() if "│" in line]
    return {name: values for name, *values in cells}


def test_once(run: Path, tools: Tools) -> None:
    outcome = tools("watch", run, "--once")
    assert outcome.code == 0
    # The first line is as long as the path makes it.
    head = " ".join(outcome.out.split("│")[0].split())
    assert head.startswith(f"{run}: step 300 of 400, 0:00:10 left, 1,23")
    assert "images/s, 1.2 % waiting for data" in head
    assert rows(outcome.out) == {
        "roofs": ["0.008333", "1", "accuracy", "50.00 %", "200", "75.00 %", "100"],
        "cover": ["0.25", "0.75", "mIoU", "50.00 %", "100", "50.00 %", "100"],
    }
    assert "warning: a disk is full" in outcome.out and "earlier" not in outcome.out
    assert "the last of 2 logs" in outcome.out


def test_a_run_that_is_silent(run: Path, tools: Tools) -> None:
    lines = [train_line(step, time.time() - 3600 + step) for step in (10, 20)]
    (run / "metrics.jsonl").write_text("\n".join(map(json.dumps, lines)))
    assert "ago: it may have stopped, or waits" in tools("watch", run, "--once").out


def test_before_the_first_step(run: Path, tools: Tools) -> None:
    (run / "metrics.jsonl").unlink()
    outcome = tools("watch", run, "--once")
    assert (outcome.code, outcome.out.splitlines()[0]) == (0, f"{run}: no step is done yet")


def test_in_object_storage(
    run: Path, tools: Tools, object_store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same as here."""
    here = tools("watch", run, "--once").out
    for path in run.rglob("*.*"):
        object_store.put(f"r/{path.relative_to(run)}", path.read_bytes())
    for name, value in object_store.variables.items():
        monkeypatch.setenv(name, value)
    there = tools("watch", object_store.url("r"), "--once")
    assert (there.code, rows(there.out)) == (0, rows(here))
    assert there.out.splitlines()[0].startswith(f"{object_store.url('r')}: step 300 of 400")
    assert "warning: a disk is full" in there.out


def started(run: Path) -> "subprocess.Popen[str]":
    """The command on a run that goes on, from its first line on."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tools", "watch", str(run), "--every", "0.2"],
        cwd=ROOT,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert "step 300 of 400" in process.stdout.readline()
    return process


def test_it_ends_with_the_run(run: Path) -> None:
    process = started(run)
    lines = [train_line(step, time.time() + step) for step in range(310, 410, 10)]
    with (run / "metrics.jsonl").open("a") as file:
        file.write("\n" + "".join(json.dumps(line) + "\n" for line in lines))
    summary = {"status": "completed", "step": 400}
    (run / "summary.tmp").write_text(json.dumps(summary))
    (run / "summary.tmp").rename(run / "summary.json")
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    assert f"{run}: step 400 of 400, completed" in out
    assert rows(out)["roofs"][0] == "0.00625"


def test_control_c_ends_it_quietly(run: Path) -> None:
    process = started(run)
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=60) == ("", "")
    assert process.returncode == 130


def test_mistakes_of_the_user_are_one_line(run: Path, tools: Tools, tmp_path: Path) -> None:
    tools("watch", tmp_path / "none").assert_error("none: no such folder")
    tools("watch", tmp_path, "--once").assert_error("no config.yaml in it (a run folder is needed)")
    tools("watch", run, "--every", 0).assert_error("--every 0: must be at least 0.1")
    (run / "summary.json").write_text("{bad")
    tools("watch", run, "--once").assert_error(f"{run}: summary.json: cannot be read")
    (run / "summary.json").unlink()
    (run / "config.yaml").write_text("steps: {")
    tools("watch", run, "--once").assert_error("config.yaml")

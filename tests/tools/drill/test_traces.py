"""What the drill looks for after a fault."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tools.drill import traces
from tools.drill.job import NotSurvived
from tools.drill.phases import FOLDER
from train.run.checkpoint import Arrays, Checkpoint
from train.run.checkpoint_folder import save_checkpoint


def save(run: Path, step: int, **changed: Arrays) -> None:
    arrays = {part: {"w": np.arange(3, dtype=np.float32)} for part in traces.PARTS}
    folder = run / "checkpoints"
    folder.mkdir(parents=True, exist_ok=True)
    parts = {**arrays, **changed}
    checkpoint = Checkpoint(step, parts["model"], parts["optimizer"], {}, parts["average"])
    save_checkpoint(folder, checkpoint, keep=9)


def write_end(run: Path, accuracy: float = 0.5, losses: tuple[float, ...] = (3.0, 2.0)) -> None:
    (run / "summary.json").write_text(json.dumps({"step": 4, "tasks": {"a": accuracy}}))
    rows = [{"kind": "train", "step": i + 1, "loss": loss} for i, loss in enumerate(losses)]
    (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture
def reference(tmp_path: Path) -> Path:
    for step in (2, 4):
        save(tmp_path / "reference", step)
    write_end(tmp_path / "reference")
    return tmp_path / "reference"


@pytest.mark.parametrize("part", ["model", "optimizer", "average"])
def test_one_bit_in_any_array_is_told(reference: Path, tmp_path: Path, part: str) -> None:
    run = tmp_path / "run"
    save(run, 2)
    traces.require_equal(run, reference)
    values = np.arange(3, dtype=np.float32)
    values.view(np.uint32)[1] ^= 1
    save(run, 4, **{part: {"w": values}})
    with pytest.raises(NotSurvived, match=f"checkpoint 4 differs .* in {part}: w"):
        traces.require_equal(run, reference)


def test_negative_zero_is_not_zero_and_an_array_may_be_missing(
    reference: Path, tmp_path: Path
) -> None:
    save(tmp_path / "run", 2, model={"w": np.array([-0.0, 1, 2], np.float32)})
    with pytest.raises(NotSurvived, match="model: w"):
        traces.require_equal(tmp_path / "run", reference)
    save(tmp_path / "run", 2, average={})
    with pytest.raises(NotSurvived, match="average: w"):
        traces.require_equal(tmp_path / "run", reference)


def test_a_checkpoint_that_the_undisturbed_run_has_not(reference: Path, tmp_path: Path) -> None:
    save(tmp_path / "run", 3)
    with pytest.raises(NotSurvived, match="step 3, which is no point to save at"):
        traces.require_equal(tmp_path / "run", reference)


@pytest.mark.parametrize(
    ("spoil", "found"),
    [
        (lambda run: write_end(run, accuracy=0.75), "the results in summary.json"),
        (lambda run: write_end(run, losses=(3.0,)), "metrics.jsonl has other steps or losses"),
        (lambda run: write_end(run, losses=(3.0, 2.5)), "metrics.jsonl has other steps or losses"),
        (lambda run: (run / "summary.json").unlink(), "no summary"),
        (lambda run: (run / "metrics.jsonl").write_text('{"step": 1'), "metrics.jsonl: "),
        (lambda run: (run / "checkpoints/step_00000004/state.json").unlink(), "no checkpoint of"),
    ],
)
def test_another_end(
    reference: Path, tmp_path: Path, spoil: Callable[[Path], None], found: str
) -> None:
    run = tmp_path / "run"
    save(run, 4)
    write_end(run)
    traces.require_same_end(run, reference)
    traces.require_same_steps(run, reference)
    spoil(run)
    with pytest.raises(NotSurvived, match=found):
        traces.require_same_end(run, reference)
        traces.require_same_steps(run, reference)


def test_leftovers(tmp_path: Path) -> None:
    run, temporary = tmp_path / "run", tmp_path / "tmp"
    save(run, 4)
    write_end(run)
    temporary.mkdir()
    before = traces.shared_memory()
    assert traces.leftovers(run, temporary, before) == []
    left = [
        run / "checkpoints" / ".step_00000006.123",
        run / "checkpoints" / ".step_00000002.removed",
        run / ".metrics.jsonl.77",
        run / ".owner",
        temporary / "mtln-locked-x",
    ]
    for path in left:
        path.touch()
    assert traces.leftovers(run, temporary, before) == sorted(map(str, left))


def test_a_process_that_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traces, "_GONE_WITHIN", 0.2)
    command = [sys.executable, "-c", "import time; time.sleep(60)"]
    with subprocess.Popen(command, env={**os.environ, FOLDER: str(tmp_path)}) as process:
        with pytest.raises(NotSurvived, match=rf"still running .*\[{process.pid}\]"):
            traces.require_no_process(tmp_path)
        traces.require_no_process(tmp_path / "another")
        process.kill()
        process.wait()
    traces.require_no_process(tmp_path)

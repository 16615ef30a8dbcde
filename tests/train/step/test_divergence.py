"""A run whose gradients are no longer finite: it says where, ends in time, and can go on."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.ranks import run_job
from train.step.divergence import DOUBTFUL, MOST_SKIPPED, SkippedSteps
from train.step.train_step import StepResults

# A rank of a normal job in which rank 1 has no number in its own branch of a task after step 26,
# if it is told to, and rank 0 no finite gradient in step 3.
_WORKER = """
import sys
import numpy as np
from mindspore import Tensor
from train import __main__
from train.trainer import Trainer

update = Trainer._update
rank_1_fails = sys.argv[1] == "fail"
steps = []

def spoil(parameter, value):
    good = parameter.asnumpy().copy()
    parameter.set_data(Tensor(np.full_like(good, value)))
    return good

def update_after_spoiling(self, size, *others):
    steps.append(size)
    named = {p.name: p for p in self.network.get_parameters()}
    bias = named["tasks.coast.head.linear.bias"]
    if len(steps) == 27 and self.cluster.rank == 1 and rank_1_fails:
        spoil(bias, np.nan)
    if len(steps) != 3 or self.cluster.rank != 0 or not rank_1_fails:
        return update(self, size, *others)
    good = spoil(bias, np.inf)
    result = update(self, size, *others)
    result.asnumpy()
    bias.set_data(Tensor(good))
    return result

Trainer._update = update_after_spoiling
sys.exit(__main__.main(sys.argv[2:]))
"""


def lines_of(run_dir: Path, kind: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if line["kind"] == kind]


@pytest.mark.slow
def test_a_run_that_diverges_says_where_and_goes_on_with_a_lower_rate(
    start_config: Path, tmp_path: Path
) -> None:
    worker, run_dir = tmp_path / "worker.py", tmp_path / "run"
    worker.write_text(_WORKER)
    settings = [
        *(start_config, f"run_dir={run_dir}", "log_every=8"),
        *("schedule.steps=72", "schedule.consolidate_every=24", "checkpoint.every=24"),
    ]
    ended = run_job(2, run_dir, [worker, "fail", *settings], check=False)
    assert ended.returncode == 2
    assert "step 8: 1 of the last 8 step(s) skipped" in ended.stdout
    assert "NaN" not in (run_dir / "metrics.jsonl").read_text()  # which is no JSON
    assert [line["skipped_steps"] for line in lines_of(run_dir, "train")] == [1, 0, 0, 6]
    where = "Not finite in step 48 on rank 1: the loss of coast and the gradient of shared."
    assert where in ended.stdout and "on rank 0" not in ended.stdout
    for text in (
        "training has diverged: the gradients of the last 22 steps up to 48 were not finite",
        "goes on from step 24 with a lower optimizer.learning_rate, for example 0.025",
        "step 24 is spoilt already: remove checkpoints/step_00000024",
    ):
        assert text in ended.stderr
    assert [path.name for path in (run_dir / "checkpoints").iterdir()] == ["step_00000024"]

    lower = "optimizer.learning_rate=0.025"
    run_job(2, run_dir, [worker, "go on", *settings, lower])
    [changed] = lines_of(run_dir, "changed")
    assert changed["step"] == 24 and changed["key"] == "optimizer.learning_rate"
    assert (changed["before"], changed["now"]) == (0.05, 0.025)
    summary = json.loads((run_dir / "summary.json").read_text())
    assert (summary["step"], summary["skipped_steps"]) == (72, 1)


def results(updates: int, since: int, before: int = 0) -> StepResults:
    """Steps of which so many were skipped since the last update, and before it."""
    return StepResults([1.0], [1.0], 1.0, updates, before + since, since)


def test_when_a_run_has_diverged() -> None:
    """An update puts an end to the count; while the loss scale comes down there is none.

    Nothing is saved then either: with an interval of one step, a model that the last update has
    spoilt would push out all the good ones before the scale is down.
    """
    skipped = SkippedSteps()
    skipped.count(results(1, DOUBTFUL - 1, before=MOST_SKIPPED), None)
    assert not skipped.doubtful
    assert skipped.forbid_saving(must=False) and not skipped.forbid_saving(must=True)
    skipped.count(results(0, 1), None)
    assert skipped.doubtful and not skipped.diverged
    assert skipped.forbid_saving(must=True)
    skipped.count(results(0, MOST_SKIPPED - DOUBTFUL - 1), None)
    assert not skipped.diverged
    skipped.count(results(0, 1), None)
    assert skipped.diverged and skipped.total == 2 * MOST_SKIPPED
    skipped.count(results(1, 0), None)
    assert skipped.in_a_row == 0 and not skipped.forbid_saving(must=False)

    scaled = SkippedSteps()
    scaled.count(results(0, 30), 2.0)
    assert not scaled.doubtful and scaled.total == 30
    assert scaled.forbid_saving(must=False) and not scaled.forbid_saving(must=True)
    scaled.count(results(0, MOST_SKIPPED), 1.0)
    assert scaled.diverged


def test_the_last_step_in_a_row_decides() -> None:
    rows = [np.array([1, 1, 1, made], np.float32) for made in (0, 1, 0, 0)]
    assert StepResults.of(rows).skipped_since_update == 2

"""The dynamic loss scale: its rule, what it changes in a step (nothing else), and a resume."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mindspore import Tensor, nn
from safetensors.numpy import load_file

from tests.aliases import WriteConfig
from tests.train.networks import (
    CLASSES,
    TASKS,
    make_scene_batch,
    make_scene_network,
    make_step,
    trainable,
    values,
)
from train import build
from train.__main__ import main
from train.model.mtln import MTLN
from train.optim.loss_balance import FAMO, Balance
from train.optim.loss_scale import FIRST, LARGEST, LossScale
from train.optim.optimizers import SGD, decay_of, scalar
from train.step.train_step import StepOptions, TrainStep


class Learn(nn.Cell):
    """A step of the scale alone, compiled."""

    def __init__(self, scale: LossScale) -> None:
        super().__init__()
        self.scale = scale

    def construct(self, finite: Tensor) -> Tensor:
        before = self.scale()
        self.scale.update(finite)
        return before


@pytest.mark.slow
def test_the_rule(graph_mode: None) -> None:
    """Against plain Python: halved at once, not below 1; doubled after three good ones in a row."""
    rng = np.random.default_rng(0)
    # Many bad and many good ones in a row, so that both ends are reached.
    finite = [*[False] * 20, *[True] * 90, *(rng.random(100) < 0.8)]
    scale = LossScale(good_steps=3)
    learn = Learn(scale)
    factor, good = FIRST, 0
    reached = set()
    for is_finite in finite:
        assert learn(Tensor(bool(is_finite))).asnumpy() == factor
        if not is_finite:
            factor, good = max(factor / 2, 1.0), 0
        else:
            good += 1
            if good == 3:
                factor, good = min(2 * factor, LARGEST), 0
        assert (scale.current(), scale.good_steps.asnumpy()[0]) == (factor, good)
        reached.add(factor)
    assert {1.0, FIRST, LARGEST} <= reached


def make_scaled_step(
    network: MTLN, scale: LossScale | None, clip: float = 0.0, balance: Balance | None = None
) -> TrainStep:
    sgd = SGD(decay_of(trainable(network), 1e-3), 0.9, nesterov=True)
    options = StepOptions(clip_norm=clip, loss_scale=scale)
    return make_step(network, list(CLASSES), TASKS, sgd, balance, options=options)


def set_factor(scale: LossScale, factor: float) -> None:
    scale.factor.set_data(Tensor(np.array([factor], np.float32)))


@pytest.mark.slow
def test_steps_are_those_without_a_scale(eager: None) -> None:
    """Losses, norm, clipping, what a balance learns, parameters: in float32, nothing changes."""
    rows, after = [], []
    for scale in (None, LossScale()):
        network = make_scene_network("group")
        step = make_scaled_step(network, scale, clip=0.5, balance=FAMO(3, 0.5, 0.001))
        rows.append([step(scalar(0.1), *make_scene_batch(seed=n)).asnumpy() for n in (1, 2)])
        after.append(values(network) | {"logits": step.balance.logits.asnumpy()})
    assert min(row[-2] for row in rows[0]) > 0.5  # it is clipped
    np.testing.assert_allclose(rows[1], rows[0], rtol=1e-6)
    for name, value in after[0].items():
        np.testing.assert_allclose(after[1][name], value, rtol=1e-5, atol=1e-7, err_msg=name)


@pytest.mark.slow
def test_an_overflow_is_skipped_and_halves_the_scale(eager: None) -> None:
    network, scale = make_scene_network("group"), LossScale()
    step = make_scaled_step(network, scale)
    batch = make_scene_batch()
    step(scalar(0.1), *batch)
    assert scale.good_steps.asnumpy() == 1
    before, momentum = values(network), step.update.optimizer.momentum.asnumpy().copy()
    set_factor(scale, 2.0**127)
    result = step(scalar(0.1), *batch).asnumpy()
    assert result[-1] == 0 and np.isfinite(result[:3]).all()  # the losses are not scaled
    assert (scale.current(), scale.good_steps.asnumpy()[0]) == (2.0**126, 0)
    for name, value in values(network).items():
        np.testing.assert_array_equal(value, before[name], err_msg=name)
    np.testing.assert_array_equal(step.update.optimizer.momentum.asnumpy(), momentum)
    set_factor(scale, FIRST)
    assert step(scalar(0.1), *batch).asnumpy()[-1] == 1
    assert any((values(network)[name] != value).any() for name, value in before.items())


class SaturatedScale(LossScale):
    """The scale of an NPU that has no infinity, where a number was too large in every step."""

    def __init__(self) -> None:
        super().__init__(saturates=True)

    def overflow(self, gradients: Sequence[Tensor]) -> Tensor:
        return self.infinity


@pytest.mark.slow
@pytest.mark.parametrize("local_branches", [True, False])
def test_an_overflow_without_infinities_is_skipped(eager: None, local_branches: bool) -> None:
    network, scale = make_scene_network("group"), SaturatedScale()
    options = StepOptions(local_branches, loss_scale=scale)
    step = make_step(network, list(CLASSES), TASKS, options=options)
    before = values(network)
    assert step(scalar(0.1), *make_scene_batch()).asnumpy()[-1] == 0
    assert scale.current() == FIRST / 2
    for name, value in values(network).items():
        np.testing.assert_array_equal(value, before[name], err_msg=name)


def optimizer_file(run_dir: Path, step: int) -> dict[str, np.ndarray]:
    return load_file(run_dir / f"checkpoints/step_{step:08d}/optimizer.safetensors")


def lines_of(run_dir: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.slow
def test_a_resumed_run_goes_on_with_its_scale(
    one_task_config: dict[str, Any],
    write_config: WriteConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    no_graphs: None,
) -> None:
    monkeypatch.setattr(build, "LossScale", lambda saturates: LossScale(3, saturates))
    one_task_config |= {
        "reduction": {"precision": "float16"},
        "schedule": {"steps": 8, "consolidate_every": 2},
        "checkpoint": {"every": 2, "keep": 9},
    }
    path = write_config(one_task_config)
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    assert main([str(path), f"run_dir={whole}"]) == 0
    saved = optimizer_file(whole, 4)
    # Both are at neither their first nor their last value.
    assert saved["loss_scale.factor"] == 2 * FIRST and saved["loss_scale.good_steps"] == 1
    scales = [line["loss_scale"] for line in lines_of(whole) if line["kind"] == "train"]
    assert scales == [FIRST, FIRST, *[2 * FIRST] * 3, *[4 * FIRST] * 3]

    shutil.copytree(whole, stopped)
    (stopped / "summary.json").unlink()
    for step in (6, 8):
        shutil.rmtree(stopped / f"checkpoints/step_{step:08d}")
    assert main([str(path), f"run_dir={stopped}"]) == 0
    one, other = (optimizer_file(run, 8) for run in (whole, stopped))
    assert one.keys() == other.keys()
    assert all(one[key].tobytes() == other[key].tobytes() for key in one)


@pytest.mark.slow
def test_a_run_whose_first_scale_is_much_too_large(
    one_task_config: dict[str, Any],
    write_config: WriteConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It has not diverged: it comes down, which is told, and then it trains."""

    def too_large(saturates: bool) -> LossScale:
        scale = LossScale(saturates=saturates)
        set_factor(scale, 2.0**127)
        return scale

    monkeypatch.setattr(build, "LossScale", too_large)
    one_task_config |= {"reduction": {"precision": "float16"}}
    path, run_dir = write_config(one_task_config), tmp_path / "run"
    steps = ["schedule.steps=72", "schedule.consolidate_every=72", "log_every=2"]
    assert main([str(path), f"run_dir={run_dir}", *steps]) == 0
    lines = lines_of(run_dir)
    skipped = [line for line in lines if line["kind"] == "skipped"]
    assert skipped[0]["loss_scale"] == 2.0**125 and skipped[0]["skipped_steps"] == 2
    assert any(line["kind"] == "train" for line in lines)
    told = capsys.readouterr().out
    assert "step 2: 2 of the last 2 step(s) skipped" in told
    assert f"the loss scale is now {2.0**125:g}" in told


@pytest.mark.slow
def test_without_float16_there_is_none(
    one_task_config: dict[str, Any], write_config: WriteConfig, tmp_path: Path
) -> None:
    path, run_dir = write_config(one_task_config), tmp_path / "run"
    assert main([str(path), f"run_dir={run_dir}", "schedule.steps=2"]) == 0
    assert not any("loss_scale" in line for line in lines_of(run_dir))
    assert not any("loss_scale" in key for key in optimizer_file(run_dir, 2))

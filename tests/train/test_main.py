"""``python -m train`` on one rank, in this process."""

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from launch.__main__ import main as launch
from tests.aliases import WriteConfig
from train.__main__ import main
from train.config.reader import load_config
from train.config.schedule import Schedule
from train.run.code_version import code_version
from train.run.ownership import Ownership


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    return tmp_path / "run"


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> list[str]:
    """The lines on standard error of a run that must end with exit code 2."""
    capsys.readouterr()
    assert main([str(a) for a in arguments]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines and all(line.startswith("error: ") for line in lines)
    return [line.removeprefix("error: ") for line in lines]


def model_of(run_dir: Path, step: int) -> dict[str, np.ndarray]:
    return load_file(run_dir / f"checkpoints/step_{step:08d}/model.safetensors")


@pytest.mark.slow
def test_the_run_folder(
    small_config: dict[str, Any], write_config: WriteConfig, run_dir: Path, capsys: Any
) -> None:
    small_config["evaluate"]["every"] = 2
    small_config["checkpoint"] = {"keep": 1, "keep_best": True}
    path = write_config(small_config)
    assert main([str(path), f"run_dir={run_dir}"]) == 0
    shown = capsys.readouterr().out
    assert str(run_dir) in shown and "Test accuracy" in shown
    assert all(name in shown for name in small_config["datasets"])

    # What "auto" stood for is written down.
    given = load_config(path, [f"run_dir={run_dir}", "precision=float32"])
    assert load_config(run_dir / "config.yaml") == given
    lines = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    kinds = [(line["step"], line["kind"], line.get("split")) for line in lines]
    train = [(s, "train", None) for s in range(1, 5)]
    held_out = [(4, "evaluation", "val"), (4, "evaluation", "test")]
    assert kinds == [*train[:2], (2, "evaluation", "val"), *train[2:], *held_out]
    assert all(line["images"] == 12 * line["step"] and line["time"] > 1e9 for line in lines)
    for line in lines[:2]:
        assert line["loss"] == pytest.approx(sum(t["loss"] for t in line["tasks"].values()))
    # The rate of the step itself, not of the one that comes next.
    rates = [line["learning_rate"] for line in lines if line["kind"] == "train"]
    assert rates == [Schedule(given).learning_rate(step) for step in range(4)]
    assert len(set(rates)) > 1

    summary = json.loads((run_dir / "summary.json").read_text())
    assert summary["status"] == "completed"
    assert (summary["step"], summary["world_size"], summary["images_seen"]) == (4, 1, 48)
    assert summary["bytes_reduced_per_step"] == 0
    assert summary["wall_seconds"] > 0 and summary["images_per_second"] > 0
    assert summary["versions"]["mindspore"]
    assert summary["versions"]["mtln"] == code_version()
    for name, (classes, images) in {"fields": (3, 15), "roofs": (4, 12), "coast": (2, 14)}.items():
        test = summary["tasks"][name]["test"]
        confusion = np.array(test["confusion_matrix"])
        assert confusion.shape == (classes, classes)
        assert confusion.sum() == test["images"] == images
        assert test["accuracy"] == pytest.approx(np.trace(confusion) / images)
        assert summary["tasks"][name]["val"]["images"] < images

    # The first evaluation gives a best model, and the last one is compared with it.
    assert 0 <= summary["saving"] < 1 and all("saving" in line for line in lines[:2])
    vals = [line["tasks"] for line in lines if line.get("split") == "val"]
    means = [np.mean([task["accuracy"] for task in tasks.values()]) for tasks in vals]
    best = (2, 4)[int(np.argmax(means))]
    kept = {"step_00000004", f"step_{best:08d}"}
    assert {path.name for path in (run_dir / "checkpoints").iterdir()} == {*kept, "best.json"}
    named = json.loads((run_dir / "checkpoints/best.json").read_text())
    assert named["step"] == summary["best"]["step"] == best
    assert named["validation"]["mean"] == pytest.approx(max(means))
    assert summary["best"]["checkpoint"] == f"checkpoints/step_{best:08d}"
    assert "best so far on val" in shown and f"Best on val: step {best}, mean " in shown

    # Evaluation changes neither parameters nor batch-norm statistics, nor what is trained later.
    without = "evaluate.every=0", "checkpoint.keep_best=false"
    assert main([str(path), f"run_dir={run_dir}2", *without]) == 0
    undisturbed, evaluated = model_of(Path(f"{run_dir}2"), 4), model_of(run_dir, 4)
    for key, value in undisturbed.items():
        np.testing.assert_array_equal(evaluated[key], value, err_msg=key)
    capsys.readouterr()

    # Once more: nothing is trained again, the result is shown.
    before = (run_dir / "summary.json").stat().st_mtime_ns
    assert main([str(path), f"run_dir={run_dir}", "optimizer.learning_rate=0.001"]) == 0
    shown = capsys.readouterr().out
    assert "This run is completed" in shown and ": 0.001 is not used" in shown
    assert (run_dir / "summary.json").stat().st_mtime_ns == before

    # Nobody else is let into the folder meanwhile.
    owner = Ownership(run_dir)
    [line] = refused(capsys, path, f"run_dir={run_dir}")
    assert line.startswith(f"run_dir: {run_dir} is in use by process {os.getpid()} on ")
    assert launch([str(path), f"run_dir={run_dir}", "nproc=1"]) == 2
    assert f"{run_dir} is in use by process {os.getpid()} on " in capsys.readouterr().err
    owner.release()
    assert not (run_dir / "logs").exists()

    # With other settings it would be another run.
    [line] = refused(capsys, path, f"run_dir={run_dir}", "optimizer.learning_rate=0.5")
    assert "optimizer.learning_rate was 0.02 and is now 0.5" in line
    assert (run_dir / "summary.json").stat().st_mtime_ns == before


@pytest.mark.slow
def test_a_completed_run_is_made_longer(
    one_task_config: dict[str, Any], write_config: WriteConfig, run_dir: Path, capsys: Any
) -> None:
    """It goes on from the end of the shorter one, here between consolidation points."""
    one_task_config["schedule"] = {"steps": 5, "consolidate_every": 2}
    path = write_config(one_task_config)
    assert main([str(path), f"run_dir={run_dir}"]) == 0
    short = json.loads((run_dir / "summary.json").read_text())
    capsys.readouterr()
    assert main([str(path), f"run_dir={run_dir}", "schedule.steps=8"]) == 0
    shown = capsys.readouterr().out
    assert "Resuming from" in shown
    assert "schedule.steps was 5 and is now 8. From step 5 on the learning rate is" in shown
    lines = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    trained = [line for line in lines if line["kind"] == "train"]
    assert [line["step"] for line in trained] == list(range(1, 9))
    assert trained[5]["learning_rate"] > trained[4]["learning_rate"]
    summary = json.loads((run_dir / "summary.json").read_text())
    assert (short["step"], summary["step"]) == (5, 8)
    assert summary["images_seen"] == 8 * 4
    [line] = refused(capsys, path, f"run_dir={run_dir}")
    assert "schedule.steps was 8 and is now 5" in line and "longer, not shorter" in line


@pytest.mark.slow
def test_it_learns(joint_tree: dict[str, Any], write_config: WriteConfig, run_dir: Path) -> None:
    """Far above chance (1/3, 1/4, 1/2; of the pixels about 1/2) within seconds, with AdamW."""
    path = write_config(
        {
            **joint_tree,
            "schedule": {"steps": 160, "consolidate_every": 40},
            "optimizer": {"name": "adamw", "learning_rate": 0.004, "weight_decay": 0.01},
            "log_every": 40,
        }
    )
    assert main([str(path), f"run_dir={run_dir}"]) == 0
    tasks = json.loads((run_dir / "summary.json").read_text())["tasks"]
    pixels = tasks.pop("coast_pixels")["test"]
    accuracies = {name: splits["test"]["accuracy"] for name, splits in tasks.items()}
    assert accuracies["fields"] > 0.7 and accuracies["roofs"] > 0.6 and accuracies["coast"] > 0.8
    assert pixels["pixel_accuracy"] > 0.8 and pixels["mean_iou"] > 0.6


@pytest.mark.slow
def test_a_moving_average_and_a_run_that_starts_from_it(
    one_task_config: dict[str, Any], write_config: WriteConfig, tmp_path: Path, capsys: Any
) -> None:
    """With a decay near one the average stays what the model was at the first point."""
    tasks = {"coast": {}, "coast_pixels": {"dataset": "coast", "kind": "segmentation"}}
    every_two = {"evaluate": {"every": 2, "images": 12}, "checkpoint": {"every": 2}}
    path = write_config({**one_task_config, **every_two, "tasks": tasks})
    first, second = tmp_path / "first", tmp_path / "second"
    assert main([str(path), f"run_dir={first}", "ema=0.999999999"]) == 0
    lines = [json.loads(line) for line in (first / "metrics.jsonl").read_text().splitlines()]
    two, four = (line["tasks"] for line in lines if line.get("split") == "val")
    assert two == four  # and not those of the model, which has learned
    early, late = model_of(first, 2), model_of(first, 4)
    average = load_file(first / "checkpoints/step_00000004/ema.safetensors")
    assert average.keys() == late.keys()
    for key, value in average.items():
        np.testing.assert_allclose(value, early[key], rtol=1e-5, atol=1e-7)
    assert not np.allclose(late["shared.trunk.stem.weight"], early["shared.trunk.stem.weight"])

    capsys.readouterr()
    still = "optimizer.learning_rate=1e-12"  # what it starts with stays
    assert main([str(path), f"run_dir={second}", f"init_from={first}", still]) == 0
    assert "init_from:" in capsys.readouterr().out
    other = model_of(second, 4)
    for key, value in average.items():
        if key.endswith("weight"):
            same = np.allclose(other[key], value, rtol=1e-5, atol=1e-7)
            assert same == key.startswith("shared."), key  # task branches are drawn anew


def test_missing_record_folder(
    small_config: dict[str, Any], write_config: WriteConfig, run_dir: Path, capsys: Any
) -> None:
    small_config["datasets"]["roofs"]["records"] = "nowhere/roofs"
    [line] = refused(capsys, write_config(small_config), f"run_dir={run_dir}")
    assert "nowhere/roofs" in line
    assert not run_dir.exists()


def test_damaged_shard(
    small_config: dict[str, Any],
    write_config: WriteConfig,
    run_dir: Path,
    tmp_path: Path,
    capsys: Any,
) -> None:
    copy = tmp_path / "roofs"
    shutil.copytree(small_config["datasets"]["roofs"]["records"], copy)
    small_config["datasets"]["roofs"]["records"] = str(copy)
    shard = copy / "train.mindrecord1"
    shard.write_bytes(shard.read_bytes()[:-10])
    [line] = refused(capsys, write_config(small_config), f"run_dir={run_dir}")
    assert "train.mindrecord1" in line
    assert not run_dir.exists()


def test_a_run_of_which_no_checkpoint_can_be_read_is_left_alone(
    small_config: dict[str, Any], write_config: WriteConfig, run_dir: Path, capsys: Any
) -> None:
    """Else it would begin anew, over the metrics and the summary of days."""
    state = run_dir / "checkpoints/step_00000004/state.json"
    state.parent.mkdir(parents=True)
    state.write_text("{")
    (run_dir / "metrics.jsonl").write_text('{"step": 4}\n')
    [line] = refused(capsys, write_config(small_config), f"run_dir={run_dir}")
    assert "can be read (step_00000004 is damaged or of a newer version)" in line
    assert (run_dir / "metrics.jsonl").read_text() == '{"step": 4}\n'


def test_class_count_that_disagrees(
    small_config: dict[str, Any], write_config: WriteConfig, run_dir: Path, capsys: Any
) -> None:
    path = write_config(small_config)
    [line] = refused(capsys, path, f"run_dir={run_dir}", "tasks.coast.classes=7")
    assert "tasks.coast.classes: 7 classes" in line and "has 2" in line
    assert not run_dir.exists()


def test_configuration_errors_are_told_before_mindspore_is_loaded(
    small_config: dict[str, Any], write_config: WriteConfig, run_dir: Path, capsys: Any
) -> None:
    path = write_config(small_config)
    lines = refused(capsys, path, f"run_dir={run_dir}", "modle.depth=16", "seed=x")
    assert len(lines) == 2
    assert not run_dir.exists()


def test_run_dir_that_cannot_be_made(
    small_config: dict[str, Any], write_config: WriteConfig, tmp_path: Path, capsys: Any
) -> None:
    (tmp_path / "file").write_text("")
    [line] = refused(capsys, write_config(small_config), f"run_dir={tmp_path / 'file' / 'run'}")
    assert "run_dir: " in line


def test_device_that_is_not_there(
    small_config: dict[str, Any], write_config: WriteConfig, run_dir: Path, capsys: Any
) -> None:
    [line] = refused(capsys, write_config(small_config), f"run_dir={run_dir}", "device=Ascend")
    assert "device: Ascend cannot be used here" in line


@pytest.mark.slow
def test_what_is_not_finite_is_not_saved(
    small_config: dict[str, Any], write_config: WriteConfig, run_dir: Path, capsys: Any
) -> None:
    """The first step is one to infinity."""
    small_config["schedule"] = {"steps": 4, "consolidate_every": 2, "warmup": 0.0}
    small_config["checkpoint"] = {"every": 2}
    path, log = write_config(small_config), "log_every=2"
    steep = "optimizer.learning_rate=3e38", "optimizer.weight_decay=100"
    [line] = refused(capsys, path, f"run_dir={run_dir}", log, *steep)
    assert re.match(r"training has diverged: after step 2, \S+ and \d+ more are not finite", line)
    assert list((run_dir / "checkpoints").iterdir()) == []


@pytest.mark.slow
def test_diverged_training_ends(
    small_config: dict[str, Any], write_config: WriteConfig, run_dir: Path, capsys: Any
) -> None:
    """The first step leaves numbers with which no other can be made."""
    path = write_config(small_config)
    [line] = refused(capsys, path, f"run_dir={run_dir}", "optimizer.learning_rate=1e18")
    assert "training has diverged: the gradients of the last 3 steps up to 4 were not" in line
    assert "the same command starts again with a lower optimizer.learning_rate" in line
    assert not (run_dir / "summary.json").exists()

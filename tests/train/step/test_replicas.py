"""Two real ranks: what is shared, what is local, what travels, what a resume gives."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from tests.ranks import reductions_of_steps, run_probe, run_train

pytestmark = pytest.mark.slow

Arrays = dict[str, np.ndarray]
STEPS = 12


@pytest.fixture(scope="module")
def config_path(joint_tree: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Local branches, batch norm, momentum, all augmentations, and what else there is to resume."""
    tree = {
        **joint_tree,
        "loss": {"balance": {"rule": "dwa"}},
        "ema": 0.9,
        "schedule": {"steps": STEPS, "consolidate_every": 4},
        "checkpoint": {"every": 4, "keep": 9},
        "optimizer": {"learning_rate": 0.05, "clip_norm": 2.0},
        "image": {"size": 16, "stages": [{"until": 0.5, "size": 12}]},
    }
    path = tmp_path_factory.mktemp("replicas") / "replicas.yaml"
    path.write_text(json.dumps(tree))
    return path


@pytest.fixture(scope="module")
def run(config_path: Path) -> Path:
    """The run folder of the probe on two ranks, with the replicas of both and the graphs."""
    run_dir = config_path.parent / "run"
    run_probe(2, config_path, run_dir, graphs=config_path.parent / "graphs")
    return run_dir


def replicas(run: Path, name: str) -> tuple[Arrays, Arrays]:
    one, other = (load_file(run / "replicas" / f"{name}_rank{r}.safetensors") for r in range(2))
    assert one.keys() == other.keys()
    return one, other


def differing(run: Path, name: str) -> set[str]:
    one, other = replicas(run, name)
    return {key for key in one if one[key].tobytes() != other[key].tobytes()}


def files_of(checkpoint: Path, *names: str) -> Arrays:
    loaded: Arrays = {}
    for name in names:
        loaded |= load_file(checkpoint / f"{name}.safetensors")
    return loaded


def is_branch(key: str) -> bool:
    return key.removeprefix("momentum.").startswith("tasks.")


def is_statistic(key: str) -> bool:
    return key.endswith((".moving_mean", ".moving_variance"))


def test_first_parameters_are_equal_by_broadcast(run: Path) -> None:
    drawn = differing(run, "before_broadcast")
    assert any("shared." in key for key in drawn) and any("tasks." in key for key in drawn)
    assert differing(run, "after_broadcast") == set()
    one, _ = replicas(run, "after_broadcast")
    rank0, _ = replicas(run, "before_broadcast")
    assert all((one[key] == rank0[key]).all() for key in one)


@pytest.mark.parametrize("point", range(3))
def test_shared_branch_is_equal_and_task_branches_are_not(run: Path, point: int) -> None:
    different = differing(run, f"before_point{point}")
    assert all(is_branch(key) or is_statistic(key) for key in different)
    one, _ = replicas(run, f"before_point{point}")
    for key in one:
        # A bias before a norm has no effect, hence a gradient of rounding errors or zero.
        if is_branch(key) and key.endswith("weight"):
            assert key in different, key


@pytest.mark.parametrize("point", range(3))
def test_all_is_equal_after_a_consolidation_point(run: Path, point: int) -> None:
    assert differing(run, f"after_point{point}") == set()


@pytest.mark.parametrize("point", range(3))
def test_consolidation_averages_branches_and_merges_statistics(run: Path, point: int) -> None:
    one, other = replicas(run, f"before_point{point}")
    merged, _ = replicas(run, f"after_point{point}")
    for key in one:
        if key.startswith("balance."):  # equal on both, and begins a new period here
            continue
        a, b = one[key].astype(np.float64), other[key].astype(np.float64)
        if key.endswith(".moving_variance"):
            means = [r[key.replace("variance", "mean")].astype(np.float64) for r in (one, other)]
            # The variance of two equally large samples put together.
            expected = (a + b) / 2 + ((means[0] - means[1]) / 2) ** 2
        else:
            expected = (a + b) / 2
        np.testing.assert_allclose(merged[key], expected, rtol=1e-5, atol=1e-7, err_msg=key)


def test_weights_of_the_losses_change_at_consolidation_points(run: Path) -> None:
    """dwa: for the first time after two periods."""
    weights = [replicas(run, f"after_point{i}")[0]["balance.weights"] for i in range(3)]
    assert (weights[0] == 1).all()
    assert not np.allclose(weights[1], 1, atol=1e-4) and not (weights[2] == weights[1]).any()
    assert weights[2].sum() == pytest.approx(4, rel=1e-5)


def test_only_shared_bytes_travel(run: Path, config_path: Path) -> None:
    """The compiled step reduces the shared gradients and a few numbers, in this order.

    Without segmentation and with a simple balance only the gradients:
    tests/train/distributed/test_starts.py.
    """
    initial, _ = replicas(run, "after_broadcast")
    shared = sum(
        value.size
        for key, value in initial.items()
        if key.startswith("shared.") and not is_statistic(key)
    )
    tasks = 4
    # Pixels with a class; gradient, losses, squared norm of the local gradients.
    messages = [tasks, shared + tasks + 1]
    summary = json.loads((run / "summary.json").read_text())
    assert summary["bytes_reduced_per_step"] == 4 * sum(messages)
    assert summary["parameters"]["shared"] == shared
    found = reductions_of_steps(config_path.parent / "graphs")
    assert len(found) >= 2  # one graph per image size
    assert all(reductions == messages for reductions in found)


def test_checkpoint_is_the_consolidated_model(run: Path) -> None:
    for i, step in enumerate((4, 8, 12)):
        merged, _ = replicas(run, f"after_point{i}")
        folder = run / "checkpoints" / f"step_{step:08d}"
        saved = files_of(folder, "model", "optimizer")
        assert saved.keys() == merged.keys()
        assert all(saved[key].tobytes() == merged[key].tobytes() for key in saved)


def lines_of(run: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [
        {
            k: v
            for k, v in line.items()
            if k not in ("time", "images_per_second", "data_wait", "saving", "step_seconds")
        }
        for line in lines
    ]


def test_stop_and_resume_is_as_if_not_stopped(run: Path, config_path: Path, tmp_path: Path) -> None:
    """From a run folder as it stands when the job dies after the checkpoint of step 4."""
    stopped = tmp_path / "stopped"
    shutil.copytree(run, stopped)
    (stopped / "summary.json").unlink()
    shutil.rmtree(stopped / "checkpoints" / "step_00000012")
    (stopped / "checkpoints" / "step_00000008" / "state.json").unlink()
    result = run_train(2, config_path, f"run_dir={stopped}")
    assert "Resuming from " in result.stdout and "step_00000004" in result.stdout
    assert "step_00000008 is damaged or not finished: it is not used" in result.stdout
    for file in ("model", "optimizer", "ema"):
        one, other = (files_of(r / "checkpoints/step_00000012", file) for r in (run, stopped))
        assert all(one[key].tobytes() == other[key].tobytes() for key in one)
    lines = lines_of(stopped)
    [resumed] = [line for line in lines if line["kind"] == "resumed"]
    lines.remove(resumed)
    assert lines == lines_of(run)
    assert (resumed["step"], resumed["ranks_before"], resumed["ranks"]) == (4, 2, 2)
    summaries = [json.loads((r / "summary.json").read_text()) for r in (run, stopped)]
    assert summaries[0]["tasks"] == summaries[1]["tasks"]


def test_distributed_evaluation_equals_that_of_one_rank(
    run: Path, config_path: Path, tmp_path: Path
) -> None:
    """The final checkpoint on one rank: also a resume with another number of ranks."""
    alone = tmp_path / "alone"
    shutil.copytree(run, alone)
    (alone / "summary.json").unlink()
    run_train(1, config_path, f"run_dir={alone}")
    one, two = (json.loads((r / "summary.json").read_text()) for r in (alone, run))
    assert (one["world_size"], two["world_size"]) == (1, 2)
    assert one["tasks"] == two["tasks"]
    images = {t: s["test"]["images"] for t, s in one["tasks"].items()}
    assert images == {"fields": 15, "roofs": 12, "coast": 14, "coast_pixels": 14}


@pytest.fixture(scope="module")
def parity_path(joint_tree: dict[str, Any], config_path: Path) -> Path:
    """Nothing that looks beyond one image: group norm, no augmentation, all gradients reduced."""
    tree = {
        **joint_tree,
        "branches": "allreduce",
        # Masks with different numbers of pixels that have a class, on both ranks.
        "loss": {"dice": 0.5, "balance": {"rule": "famo"}},
        # Two of the shares cannot be dealt evenly to two ranks.
        "batch": {"shares": {"fields": 3, "roofs": 4, "coast": 5}},
        "model": {"depth": 10, "width": 1, "norm": "group"},
        "augment": {
            "crop_area": None, "flips": False, "quarter_turns": False,
            "brightness": 0, "contrast": 0,
        },
        "schedule": {"steps": 3, "consolidate_every": 1},
        "checkpoint": {"every": 1, "keep": 9},
    }  # fmt: skip
    path = config_path.parent / "parity.yaml"
    path.write_text(json.dumps(tree))
    return path


def test_two_ranks_train_like_one(
    parity_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first step, and one whose momentum and weights of the losses are no longer zero.

    One step at a time from the same parameters: once these differ by a rounding error, that decides
    sooner or later whether a ReLU lets through, and with so few images that is seen.
    """
    # What is tested is the distribution, to a bound that the filtering of the native convolutions,
    # which round a few times more, would need doubled.
    monkeypatch.setenv("MTLN_NATIVE", "0")
    one, two, resumed = (tmp_path / name for name in ("one", "two", "resumed"))
    run_train(1, parity_path, f"run_dir={one}")
    run_train(2, parity_path, f"run_dir={two}", graphs=tmp_path / "graphs")
    shutil.copytree(one, resumed)
    (resumed / "summary.json").unlink()
    shutil.rmtree(resumed / "checkpoints/step_00000003")
    # With the same folder for graphs, the compiled ones of the run before are those of this one.
    again = run_train(2, parity_path, f"run_dir={resumed}", graphs=tmp_path / "graphs")
    assert "step_00000002" in again.stdout
    assert "Saved by 1 rank, goes on with 2: the mixed batch is the same." in again.stdout
    values = assert_same_to_rounding(one, two, "step_00000001")
    assert_same_to_rounding(one, resumed, "step_00000003")
    # Two ranks become one, whose graph is known.
    fewer = tmp_path / "fewer"
    shutil.copytree(two, fewer)
    (fewer / "summary.json").unlink()
    shutil.rmtree(fewer / "checkpoints/step_00000003")
    again = run_train(1, parity_path, f"run_dir={fewer}")
    assert "Saved by 2 ranks, goes on with 1: the mixed batch is the same." in again.stdout
    assert_same_to_rounding(two, fewer, "step_00000003")
    [line] = [line for line in lines_of(fewer) if line["kind"] == "resumed"]
    assert (line["step"], line["ranks_before"], line["ranks"]) == (2, 2, 1)
    # Pixels with a class, losses before the gradient; all gradients, losses; losses afterwards.
    for reductions in reductions_of_steps(tmp_path / "graphs"):
        assert reductions == [4, 4, values + 4, 4]


def assert_same_to_rounding(one: Path, other: Path, step: str) -> int:
    """Model and optimizer at a step; the number of parameters.

    Only the order of the additions differs: rounding errors, measured against the tensor.
    """
    models = [files_of(run / "checkpoints" / step, "model", "optimizer") for run in (one, other)]
    assert np.abs(models[0]["balance.logits"]).max() > 0
    for key, value in models[0].items():
        difference = np.abs(models[1][key] - value).max()
        assert difference <= 2e-5 * np.abs(value).max(), key
    return sum(v.size for key, v in models[0].items() if key.startswith(("shared", "tasks")))

"""A network built from a checkpoint alone answers as the run's own evaluation did."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from train.config.reader import load_config
from train.data.manifest import RecordSet, open_record_sets
from train.data.pipeline import stored_records, transformed_batches
from train.data.transforms import evaluation_transforms
from train.errors import UserError
from train.inference.blueprint import NETWORK
from train.inference.checkpoint_source import choose_checkpoint
from train.inference.trained_model import TrainedModel
from train.run.checkpoint import Checkpoint, load_checkpoint
from train.tasks.metrics import confusion_matrix


def images_of(run: Path, dataset: str, split: str = "test") -> tuple[np.ndarray, np.ndarray]:
    """Pixels and labels of a split as the network sees them, (n, 16, 16, 3) and (n,)."""
    config = load_config(run / "config.yaml", [])
    [record_set] = [s for s in open_record_sets(config) if s.name == dataset]
    everything = np.arange(record_set.num_records(split))
    stored = stored_records(record_set, split, everything)
    transforms = evaluation_transforms(config.image.size)
    [batch] = transformed_batches(stored, [], transforms, [], len(everything))
    return batch[0], batch[1]


@pytest.fixture(scope="module")
def model(trained_run: Path) -> TrainedModel:
    return TrainedModel.read(choose_checkpoint(trained_run, "newest", "run"), batch=4)


def test_answers_are_those_of_the_evaluation_of_the_run(
    trained_run: Path, model: TrainedModel
) -> None:
    """Which took the moving average, and norms of each data set."""
    summary = json.loads((trained_run / "summary.json").read_text())["tasks"]
    for number, task in enumerate(model.tasks):
        if task.kind != "scene":
            continue
        pixels, labels = images_of(trained_run, task.dataset)
        answers = model.probabilities(pixels)[number]
        np.testing.assert_allclose(answers.sum(1), 1, rtol=1e-5)
        found = confusion_matrix(labels, answers.argmax(1), len(task.classes))
        assert summary[task.name]["test"]["confusion_matrix"] == found.tolist()


def test_answers_do_not_depend_on_what_else_is_asked(
    trained_run: Path, model: TrainedModel
) -> None:
    """Neither on the other pictures of a batch nor on the other tasks."""
    pixels, _ = images_of(trained_run, "roofs")
    together = model.probabilities(pixels)
    assert [answer.shape for answer in together] == [
        *((12, 2), (12, 3), (12, 4), (12, 3, 16, 16)),
    ]
    alone = model.probabilities(pixels[5:6])
    for one, all_of_them in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one[0], all_of_them[5])
    path = choose_checkpoint(trained_run, "newest", "run")
    few = TrainedModel.read(path, tasks=["roofs"], batch=4)
    assert [task.name for task in few.tasks] == ["roofs"]
    np.testing.assert_array_equal(few.probabilities(pixels)[0], together[2])
    pixels, _ = images_of(trained_run, "coast")
    few = TrainedModel.read(path, tasks=["coast_pixels", "coast"], batch=4)
    for mine, number in zip(few.probabilities(pixels), (0, 3), strict=True):
        np.testing.assert_array_equal(mine, model.probabilities(pixels)[number])


def test_pictures_of_all_data_sets_in_one_call(trained_run: Path, model: TrainedModel) -> None:
    """Of different numbers, and none of one data set; every task answers for its own alone."""
    images = [
        images_of(trained_run, s.name)[0][:count]
        for s, count in zip(_sets(model), (3, 0, 4), strict=True)
    ]
    answers = model.own_probabilities(images)
    for number, task in enumerate(model.tasks):
        own = images[[s.name for s in _sets(model)].index(task.dataset)]
        assert len(answers[number]) == len(own)
        if len(own):
            np.testing.assert_allclose(answers[number], model.probabilities(own)[number], atol=1e-6)


def _sets(model: TrainedModel) -> tuple[RecordSet, ...]:
    return model.blueprint.sets


def test_seen_as_one_data_set_a_picture_passes_the_trunk_once(
    trained_run: Path, model: TrainedModel
) -> None:
    pixels, _ = images_of(trained_run, "roofs")
    one = TrainedModel.read(
        choose_checkpoint(trained_run, "newest", "run"), seen_as="roofs", batch=4
    )
    seen = one.probabilities(pixels)
    np.testing.assert_allclose(seen[2], model.probabilities(pixels)[2], atol=1e-6)
    others = zip(seen[:2], model.probabilities(pixels)[:2], strict=True)
    assert all(np.abs(a - b).max() > 1e-4 for a, b in others)
    # One slice of the mixed batch, where there are three else.
    assert (len(one.network.scales), len(model.network.scales)) == (1, 3)


def test_mirror_images_are_averaged(trained_run: Path, model: TrainedModel) -> None:
    pixels, _ = images_of(trained_run, "coast", "val")
    path = choose_checkpoint(trained_run, "newest", "run")
    with_flips = TrainedModel.read(path, flips=True, batch=4).probabilities(pixels)
    for number in (0, 3):
        expected = np.mean(
            [
                _turned(model.probabilities(np.ascontiguousarray(turn(pixels)))[number], turn)
                for turn in (_same, _left_right, _up_down, lambda x: _up_down(_left_right(x)))
            ],
            axis=0,
        )
        np.testing.assert_allclose(with_flips[number], expected, atol=1e-5)


def _same(images: np.ndarray) -> np.ndarray:
    return images


def _left_right(images: np.ndarray) -> np.ndarray:
    return images[:, :, ::-1]


def _up_down(images: np.ndarray) -> np.ndarray:
    return images[:, ::-1]


def _turned(answer: np.ndarray, turn: Any) -> np.ndarray:
    if answer.ndim == 2:
        return answer
    turned: np.ndarray = np.moveaxis(turn(np.moveaxis(answer, 1, -1)), -1, 1)
    return turned


def test_attention_is_the_mean_of_the_soft_masks(trained_run: Path, model: TrainedModel) -> None:
    """That of level 0 is computed here again, by numpy, from the trunk's map."""
    pixels, _ = images_of(trained_run, "fields")
    maps = model.attention(pixels[:3])
    assert len(maps) == len(model.tasks)
    assert [level.shape for level in maps[1]] == [(3, 16, 16), (3, 8, 8), (3, 4, 4), (3, 2, 2)]
    arrays = load_checkpoint(choose_checkpoint(trained_run, "newest", "run")).average
    [fields] = [s for s in model.blueprint.sets if s.name == "fields"]
    x = (pixels[:3] / 255 - fields.manifest.mean) / fields.manifest.std
    x = _convolved(x, arrays["shared.trunk.stem.weight"], arrays["shared.trunk.stem.bias"])
    for number in (1, 2):
        of_conv, of_norm = (f"tasks.fields.attention.0.{kind}{number}" for kind in ("conv", "norm"))
        x = _convolved(x, arrays[f"{of_conv}.weight"], arrays[f"{of_conv}.bias"])
        norm = {key: arrays[f"{of_norm}.{key}"] for key in _NORM}
        x = (x - norm["moving_mean"]) / np.sqrt(norm["moving_variance"] + 1e-5)
        x = x * norm["gamma"] + norm["beta"]
        x = np.maximum(x, 0) if number == 1 else x
    np.testing.assert_allclose(maps[1][0], (1 / (1 + np.exp(-x))).mean(-1), atol=1e-5)


_NORM = ("moving_mean", "moving_variance", "gamma", "beta")


def _convolved(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """Convolve maps (N, H, W, C_in) with (C_out, C_in, k, k), in float64."""
    size, (height, width) = weight.shape[-1], x.shape[1:3]
    padded = np.pad(x, ((0, 0), (size // 2, size // 2), (size // 2, size // 2), (0, 0)))
    result: np.ndarray = bias + sum(
        padded[:, i : i + height, j : j + width] @ weight[:, :, i, j].T
        for i in range(size)
        for j in range(size)
    )
    return result


def test_old_and_foreign_checkpoints_are_refused(trained_run: Path, tmp_path: Path) -> None:
    newest = choose_checkpoint(trained_run, "newest", "run")
    checkpoint = load_checkpoint(newest)
    changes: list[tuple[Any, str]] = [
        (lambda state: state.pop(NETWORK), "written before checkpoints said"),
        (lambda state: state[NETWORK]["config"]["model"].update(depth=11), "model: depth must be"),
        (lambda state: state[NETWORK]["config"]["model"].update(width=2), "has no shared.trunk"),
    ]
    for change, told in changes:
        state = json.loads(json.dumps(checkpoint.state))
        change(state)
        changed = Checkpoint(4, checkpoint.model, {}, state, checkpoint.average)
        with pytest.raises(UserError, match=told):
            TrainedModel(changed, "runs/x")
    with pytest.raises(UserError, match=r"--tasks: no task 'rofs' .*did you mean roofs"):
        TrainedModel.read(newest, tasks=["rofs"])
    with pytest.raises(UserError, match="--as: no data set 'coast_pixels'"):
        TrainedModel.read(newest, seen_as="coast_pixels")


def test_choice_of_a_checkpoint(
    trained_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def chosen(which: str) -> str:
        return choose_checkpoint(trained_run, which, "the run").name

    assert chosen("newest") == chosen("4") == "step_00000004"
    assert chosen("2") == "step_00000002"
    means = {
        step: load_checkpoint(trained_run / f"checkpoints/step_{step:08d}").state["validation"][
            "mean"
        ]
        for step in (2, 4)
    }
    assert chosen("best") == f"step_{max(means, key=lambda s: (means[s], -s)):08d}"
    with pytest.raises(UserError, match=r"one of the steps of the run \(2, 4\), not '3'"):
        chosen("3")
    copied = tmp_path / "my model"
    shutil.copytree(trained_run / "checkpoints/step_00000002", copied)
    assert choose_checkpoint(copied, "newest", "x") == copied
    (copied / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(UserError, match=r"^x: not a whole .*: model.safetensors is damaged"):
        choose_checkpoint(copied, "newest", "x")
    assert capsys.readouterr().err == ""
    run = tmp_path / "run"
    shutil.copytree(trained_run, run)
    (run / "checkpoints/step_00000004/optimizer.safetensors").unlink()
    assert choose_checkpoint(run, "newest", "my run").name == "step_00000002"
    said = "warning: my run: step_00000004 is not used: optimizer.safetensors is missing\n"
    assert capsys.readouterr().err == said
    (run / "checkpoints/step_00000002/state.json").write_text("{}")
    with pytest.raises(UserError, match=r"no whole checkpoint in .*/ \(step_00000004: optimizer"):
        choose_checkpoint(run, "newest", "my run")
    with pytest.raises(UserError, match="a folder of checkpoints: name its run folder, or one of"):
        choose_checkpoint(run / "checkpoints", "newest", "x")
    with pytest.raises(UserError, match="is it a run folder"):
        choose_checkpoint(tmp_path, "newest", "x")

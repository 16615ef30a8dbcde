"""The command on a trained run: what it writes, compares and says, and what it refuses."""

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import mindspore as ms
import numpy as np
import onnx
import onnxruntime
import pystac
import pytest
import yaml
from safetensors.numpy import load_file
from stac_model.schema import MLModelProperties

from tests.tools.commands import Tools
from tests.tools.export.networks import pictures
from tools.export import torch_files
from tools.export.forms import FORMS
from tools.report.statistics import wilson
from train.inference.checkpoint_source import choose_checkpoint
from train.inference.trained_model import TrainedModel
from train.run.checkpoint import load_checkpoint

TASKS = ["coast", "fields", "roofs", "coast_pixels"]


@pytest.fixture(scope="module")
def model(trained_run: Path) -> TrainedModel:
    return TrainedModel.read(choose_checkpoint(trained_run, "newest", "run"), batch=5)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "exported"


def probabilities(model: TrainedModel, pixels: np.ndarray) -> list[np.ndarray]:
    """Operator by operator: nothing has to be compiled for these shapes."""
    ms.set_context(mode=ms.PYNATIVE_MODE)
    try:
        return model.probabilities(pixels)
    finally:
        ms.set_context(mode=ms.GRAPH_MODE)


def asked(path: Path, pixels: np.ndarray) -> dict[str, np.ndarray]:
    session = onnxruntime.InferenceSession(path)
    names = [output.name for output in session.get_outputs()]
    found = session.run(None, {session.get_inputs()[0].name: pixels})
    return dict(zip(names, found, strict=True))


def test_onnx(tools: Tools, trained_run: Path, model: TrainedModel, out: Path) -> None:
    """Answers to what the command did not ask it: another number of pictures of another size."""
    outcome = tools("export", trained_run, "--format", "onnx", "--out", out)
    assert outcome.code == 0, outcome.err
    said = f"{trained_run}: checkpoint of step 4, moving average of the parameters\ncompared: "
    assert said in outcome.out
    assert "16 validation pictures of coast, fields, roofs" in outcome.out
    assert sorted(p.name for p in out.iterdir()) == ["README.md", "model.json", "model.onnx"]
    written = onnx.load(out / "model.onnx")
    onnx.checker.check_model(written, full_check=True)
    assert "BatchNormalization" not in {node.op_type for node in written.graph.node}
    assert (written.ir_version, written.opset_import[0].version) == (8, 13)
    about = json.loads((out / "model.json").read_text())
    kept = {prop.key: json.loads(prop.value) for prop in written.metadata_props}["mtln"]
    assert kept["tasks"] == about["tasks"]
    assert list(about["tasks"]) == TASKS
    assert about["tasks"]["coast_pixels"]["classes"] == ["class0", "class1", "gap"]
    pixels = pictures(5, 17, 22)
    found = asked(out / "model.onnx", pixels)
    assert list(found) == TASKS
    for mine, theirs in zip(found.values(), probabilities(model, pixels), strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-5)


def test_a_task_seen_as_one_data_set(tools: Tools, trained_run: Path, out: Path) -> None:
    """The trunk runs once; labels are those of the network."""
    options = ["--format", "onnx", "--out", out, "--checkpoint", 2, "--answers", "labels"]
    chosen = ["--tasks", "roofs,coast_pixels", "--as", "roofs"]
    assert tools("export", trained_run, *options, *chosen).code == 0
    path = choose_checkpoint(trained_run, "2", "run")
    model = TrainedModel.read(path, tasks=["roofs", "coast_pixels"], seen_as="roofs", batch=4)
    pixels = pictures(4, 16, 16)
    found = asked(out / "model.onnx", pixels)
    for mine, theirs in zip(found.values(), probabilities(model, pixels), strict=True):
        np.testing.assert_array_equal(mine, theirs.argmax(1))
    assert "**They do not hold for coast_pixels**" in (out / "README.md").read_text()
    both = onnx.load(out / "model.onnx").graph
    assert [node.op_type for node in both.node].count("Cast") == 1
    stems = [n for n in both.node if "shared.trunk.stem.weight/value" in n.input]
    assert len(stems) == 1


def test_deepness(tools: Tools, trained_run: Path, model: TrainedModel, out: Path) -> None:
    """What the plugin does: divide by 255, standardise, put channels first, ask for one output."""
    options = ["--format", "onnx", "--deepness", "--size", 32, "--resolution", 50, "--out", out]
    outcome = tools("export", trained_run, *options)
    outcome.assert_error("--deepness", "one segmentation task", "--tasks coast_pixels")
    assert tools("export", trained_run, *options, "--tasks", "coast_pixels").code == 0
    session = onnxruntime.InferenceSession(out / "model.onnx")
    keys = session.get_modelmeta().custom_metadata_map
    values = {key: json.loads(value) for key, value in keys.items() if key != "mtln"}
    assert values["model_type"] == "Segmentor"
    assert values["class_names"] == {"0": "class0", "1": "class1", "2": "gap"}
    assert (values["resolution"], values["tile_size"], values["tiles_overlap"]) == (50, 32, 15)
    [given], [answer] = session.get_inputs(), session.get_outputs()
    assert (given.shape[1:], answer.shape[1:]) == ([3, 32, 32], [3, 32, 32])
    assert isinstance(given.shape[0], str)
    tiles = pictures(3, 32, 32)
    mean, std = (np.array(values[f"standardization_{key}"]) for key in ("mean", "std"))
    pixels = ((np.float32(tiles / 255) - mean) / std).astype(np.float32).transpose(0, 3, 1, 2)
    [found] = session.run(None, {given.name: pixels})
    # Logits may differ by 1e-4 (what an export is refused beyond), and so a probability, however
    # small, by twice as much of itself.
    np.testing.assert_allclose(found, probabilities(model, tiles)[3], rtol=2e-4)


@pytest.mark.slow
def test_mindir(tools: Tools, trained_run: Path, model: TrainedModel, out: Path) -> None:
    options = ["--format", "mindir", "--batch", 3, "--out", out]
    outcome = tools("export", trained_run, *options)
    assert outcome.code == 0, outcome.err
    pixels = pictures(3, 16, 16)
    found = ms.nn.GraphCell(ms.load(str(out / "model.mindir")))(ms.Tensor(pixels))
    for mine, theirs in zip(found, probabilities(model, pixels), strict=True):
        np.testing.assert_allclose(mine.asnumpy(), theirs, atol=1e-5)


def test_safetensors(tools: Tools, trained_run: Path, out: Path) -> None:
    options = ["--format", "safetensors", "--checkpoint", 2, "--out", out]
    assert tools("export", trained_run, *options).code == 0
    average = load_checkpoint(choose_checkpoint(trained_run, "2", "run")).average
    found = load_file(out / "model.safetensors")
    assert found.keys() == average.keys()
    assert all(np.array_equal(found[name], values) for name, values in average.items())


def test_torch(tools: Tools, trained_run: Path, out: Path) -> None:
    python = os.environ.get("MTLN_BENCH_PYTHON", sys.executable)
    outcome = tools("export", trained_run, "--format", "torch", "--python", python, "--out", out)
    assert outcome.code == 0, outcome.err
    names = {"README.md", "model.json", "model.safetensors", "mtln_torch.py"}
    assert {path.name for path in out.iterdir()} == names
    said = "the same answers of" if not torch_files.missing(python) else "not compared: "
    assert said in outcome.out


def test_another_answer_leaves_nothing(
    tools: Tools, trained_run: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A layer that is wrong by little is found, whatever the reason."""
    from tools.export.onnx_graph import layers

    right = layers.max_pool
    monkeypatch.setattr(layers, "max_pool", lambda g, x, *size: right(g, g.add("Neg", x), *size))
    outcome = tools("export", trained_run, "--format", "onnx", "--out", out)
    outcome.assert_error(str(out), "not made", "answers otherwise than the network")
    assert not list(out.parent.iterdir())


def test_card_and_stac_item(
    tools: Tools, trained_run: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = ["--license", "CC-BY-4.0", "--cite", "Us, 2026", "--stac"]
    assert tools("export", trained_run, "--format", "safetensors", *texts, "--out", out).code == 0
    card = (out / "README.md").read_text()
    front = yaml.safe_load(card.split("---")[1])
    assert (front["license"], front["citation"]) == ("CC-BY-4.0", "Us, 2026")
    metrics = json.loads((trained_run / "summary.json").read_text())["tasks"]["roofs"]["test"]
    [row] = [line for line in card.splitlines() if line.startswith("| roofs | test | accuracy")]
    assert f"{100 * metrics['accuracy']:.2f} %" in row and "| 12 pictures |" in row
    assert "| coast_pixels | test | mean IoU |" in card and "not known (2)" in card
    assert "\n(1) Wilson" in card and "\n(2) Pixels" in card
    assert "| fields | 30 | 6 | 15 |" in card
    # Whatever stac-model reads back, it checks.
    item = pystac.Item.from_file(str(out / "stac_item.json"))
    found = MLModelProperties(**item.properties)
    assert [output.name for output in found.output] == TASKS
    assert (out / item.assets["model"].href).name == "model.safetensors"
    assert item.properties["license"] == "CC-BY-4.0"


def test_card_of_a_checkpoint_that_the_summary_is_not_about(
    tools: Tools, trained_run: Path, out: Path
) -> None:
    """Of val alone, with intervals from the number of its pictures; only notes that are used."""
    options = ["--checkpoint", "2", "--tasks", "fields", "--format", "safetensors", "--out", out]
    assert tools("export", trained_run, *options).code == 0
    card = (out / "README.md").read_text()
    state = json.loads((trained_run / "checkpoints/step_00000002/state.json").read_text())
    value = state["validation"]["tasks"]["fields"]
    [row] = [line for line in card.splitlines() if line.startswith("| fields | val | accuracy")]
    found = wilson(round(6 * value), 6)
    assert found is not None
    interval = f"{100 * found.low:.1f} to {100 * found.high:.1f} % (1)"
    assert row == f"| fields | val | accuracy | {100 * value:.2f} % | {interval} | 6 pictures |"
    assert "\n(1) Wilson" in card and "(2)" not in card and "test split" not in card


def test_a_checkpoint_alone(tools: Tools, trained_run: Path, tmp_path: Path, out: Path) -> None:
    """Without run and records: pictures of noise, and no figures but its own."""
    copied = tmp_path / "checkpoint"
    shutil.copytree(trained_run / "checkpoints/step_00000002", copied)
    state = json.loads((copied / "state.json").read_text())
    hidden = tmp_path / "elsewhere"
    hidden.mkdir()
    outcome = _without_records(tools, copied, out, state)
    assert "8 pictures of noise, as no records are on this disk" in outcome.out
    card = (out / "README.md").read_text()
    assert "| fields | not known | not known | not known |" in card
    assert "| roofs | val | " in card


def _without_records(tools: Tools, checkpoint: Path, out: Path, state: dict[str, Any]) -> Any:
    from train.run.checkpoint import _vouched

    for options in state["network"]["config"]["datasets"].values():
        options["records"] = str(checkpoint / "no such folder")
    (checkpoint / "state.json").write_bytes(_vouched(state))
    return tools("export", checkpoint, "--format", "onnx", "--out", out)


def test_mistakes(
    tools: Tools, trained_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*arguments: object) -> Any:
        return tools("export", *arguments, "--out", tmp_path / "x")

    refused(trained_run, "--format", "onx").assert_error("--format", "'onx'", "did you mean onnx?")
    few = ["--format", "onnx", "--tasks", "rofs"]
    refused(trained_run, *few).assert_error("--tasks", "'rofs'", "did you mean roofs?")
    refused(tmp_path / "no", "--format", "onnx").assert_error("no such folder")
    refused(tmp_path, "--format", "onnx").assert_error("is it a run folder?")
    many = ["--format", "onnx", "--batch", 2]
    refused(trained_run, *many).assert_error("--batch", "of mindir")
    with monkeypatch.context() as here:
        here.setattr(FORMS["onnx"], "needs", ("onnx", "no_such_module"))
        needed = refused(trained_run, "--format", "onnx")
        needed.assert_error("needs no_such_module", "pip install -r requirements-export.txt")
    assert not (tmp_path / "x").exists()
    (tmp_path / "x").mkdir()
    refused(trained_run, "--format", "onnx").assert_error("exists already", "--overwrite")
    (tmp_path / "x" / "mine").touch()
    refused(trained_run, "--format", "onnx", "--overwrite").assert_error("not a folder made by")


def test_a_checkpoint_that_does_not_say_what_it_is(
    tools: Tools, trained_run: Path, tmp_path: Path, out: Path
) -> None:
    from train.run.checkpoint import _vouched

    old = tmp_path / "old"
    shutil.copytree(trained_run / "checkpoints/step_00000002", old)
    state = json.loads((old / "state.json").read_text())
    del state["network"]
    (old / "state.json").write_bytes(_vouched(state))
    outcome = tools("export", old, "--format", "onnx", "--out", out)
    outcome.assert_error("before checkpoints said what their network is")

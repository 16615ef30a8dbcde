"""The reference of all keys: current, complete, and a schema that accepts what is shipped."""

from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from tests.paths import ROOT
from train.__main__ import main
from train.config import keys, reference
from train.config.reader import load_config
from train.errors import UserError

SHIPPED = sorted((ROOT / "configs").rglob("*.yaml"))


def test_the_page_and_the_schema_are_current(capsys: pytest.CaptureFixture[str]) -> None:
    """Each is made anew by the command that it is named after."""
    for words, path in (
        (["--help-keys", "--markdown"], "docs/configuration.md"),
        (["--schema"], "configs/schema.json"),
    ):
        assert main(words) == 0
        command = f"python -m train {' '.join(words)} > {path}"
        assert capsys.readouterr().out == (ROOT / path).read_text(), f"make it anew: {command}"


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_shipped_configurations_name_the_schema_and_fit_it(path: Path) -> None:
    first = path.read_text().splitlines()[0]
    start, _, named = first.partition("$schema=")
    assert start == "# yaml-language-server: "
    assert (path.parent / named).resolve() == ROOT / "configs/schema.json"
    jsonschema.validate(yaml.safe_load(path.read_text()), keys.json_schema())


@pytest.mark.parametrize(
    "wrong",
    [
        {"model": {"dept": 16}},
        {"model": {"norm": "layer"}},
        {"tasks": {"a": {"kind": "pixels"}}},
        {"schedule": {}},
        {"datasets": {"a": 3}},
        {"ema": 1},
    ],
)
def test_the_schema_refuses_what_the_reader_refuses(wrong: dict[str, Any], tmp_path: Path) -> None:
    right: dict[str, Any] = {"datasets": {"a": "data/a"}, "schedule": {"steps": 10}}
    jsonschema.validate(right, keys.json_schema())
    path = tmp_path / "c.yaml"
    path.write_text(yaml.safe_dump(right))
    load_config(path)
    path.write_text(yaml.safe_dump({**right, **wrong}))
    with pytest.raises(UserError):
        load_config(path)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**right, **wrong}, keys.json_schema())


def test_every_key_is_explained() -> None:
    assert [key.name for key in keys.all_keys() if not key.text] == []


def test_keys_with_a_word(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help-keys", "LEARNING_rate"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("loss.balance.learning_rate: number > 0 (default 0.025)")
    assert "optimizer.learning_rate: number > 0 (default 0.05)" in lines
    assert "cosine" in reference.shown_keys("schedule")
    # No name has it, but a text does.
    assert reference.shown_keys("Kendall").startswith("loss.balance.rule")
    assert main(["--help-keys"]) == 0
    shown = capsys.readouterr().out
    assert all(f"\n{key.name}" in f"\n{shown}" for key in keys.all_keys()[:-1])
    with pytest.raises(UserError, match="did you mean momentum"):
        reference.shown_keys("momentun")


def test_print_config(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("datasets: {a: data/a}\nschedule: {steps: 10}\n")
    assert main([str(path), "model.width=4", "--print-config"]) == 0
    printed = tmp_path / "printed.yaml"
    printed.write_text(capsys.readouterr().out)
    assert load_config(printed) == load_config(path, ["model.width=4", "run_dir=runs/c"])


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("model.dept", "model.depth"),
        ("model.learning_rate", "optimizer.learning_rate"),
        ("learning_rate", "optimizer.learning_rate"),
        ("optimizer.lr", "optimizer.learning_rate"),
        ("modle", "model"),
        ("steps", "schedule.steps"),
        ("batch_size", "batch.images_per_task"),
        ("epochs", "schedule.steps"),
        ("datasets.ucm.recrods", "datasets.ucm.records"),
        ("tasks.ucm.clases", "tasks.ucm.classes"),
        ("image.stages.0.untill", "image.stages.0.until"),
        ("loss.balance.temprature", "loss.balance.temperature"),
        ("model.backbone", "model.trunk"),
        ("quux", None),
    ],
)
def test_the_nearest_key(written: str, meant: str | None) -> None:
    assert keys.nearest_key(written.split(".")) == meant

"""What a run begins with, from a bucket: a file, a checkpoint, a run folder, or nothing there."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.object_store import ObjectStore
from train.config.schema import Config
from train.errors import UserError
from train.run.checkpoint import Checkpoint
from train.run.checkpoint_folder import save_checkpoint
from train.run.object_storage import initial_weights


def config_of(address: str, run_dir: Path) -> Config:
    return Config.model_validate(
        {
            "run_dir": str(run_dir),
            "init_from": address,
            "datasets": {"coast": "nowhere"},
            "tasks": {"coast": {}},
            "schedule": {"steps": 2},
            "storage": {"tries": 1},
        }
    )


@pytest.fixture(autouse=True)
def in_environment(object_store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in object_store.variables.items():
        monkeypatch.setenv(name, value)


def checkpoint(folder: Path, step: int) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    model = {"shared.trunk.stem.bias": np.full(3, step, np.float32)}
    return save_checkpoint(folder, Checkpoint(step, model, {}, {}, {}), keep=9)


def put(store: ObjectStore, folder: Path, key: str) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            store.put(f"{key}/{path.relative_to(folder).as_posix()}", path.read_bytes())


def content_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_file(object_store: ObjectStore, tmp_path: Path) -> None:
    object_store.put("weights/resnet 18.pth", b"weights")
    address = object_store.url("weights/resnet 18.pth")
    found = initial_weights(config_of(address, tmp_path / "run"))
    assert found is not None and found.name == "resnet 18.pth" and found.read_bytes() == b"weights"


def test_a_run_folder_and_its_checkpoints(object_store: ObjectStore, tmp_path: Path) -> None:
    """The newest that is whole; or the one that is named."""
    there = tmp_path / "there"
    paths = [checkpoint(there / "checkpoints", step) for step in (10, 20, 30)]
    (paths[2] / "model.safetensors").write_bytes(b"damaged")
    (there / "metrics.jsonl").write_text("{}\n")
    put(object_store, there, "runs/first")
    for key, expected in (("runs/first", 1), ("runs/first/checkpoints/step_00000010", 0)):
        found = initial_weights(config_of(object_store.url(key), tmp_path / "run"))
        assert found is not None and content_of(found) == content_of(paths[expected])


def test_nothing_is_fetched_where_a_run_goes_on(object_store: ObjectStore, tmp_path: Path) -> None:
    checkpoint(tmp_path / "run/checkpoints", 10)
    assert initial_weights(config_of(object_store.url("nowhere"), tmp_path / "run")) is None


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("nowhere.pth", "is not there"),
        ("folder", "neither a whole checkpoint nor a run folder that has one"),
    ],
)
def test_what_is_not_there(
    object_store: ObjectStore, tmp_path: Path, key: str, message: Any
) -> None:
    object_store.put("folder/readme", b"x")
    address = object_store.url(key)
    with pytest.raises(UserError) as error:
        initial_weights(config_of(address, tmp_path / "run"))
    assert str(error.value) == f"init_from: {address}: {message}"

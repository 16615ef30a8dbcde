"""Runs on the small data sets, their batches, and one of these data sets to damage."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from train.config.reader import load_config
from train.config.schedule import Interval
from train.config.schema import Config
from train.data.batch import Batch
from train.data.damage import DamageWatch
from train.data.loader import TrainLoader
from train.data.manifest import Manifest, RecordSet, open_record_sets

UNCHANGED = {
    "crop_area": None,
    "flips": False,
    "quarter_turns": False,
    "brightness": 0,
    "contrast": 0,
}


Masks = dict[str, tuple[str, ...]]

SHARES = {"fields": 4, "roofs": 8, "coast": 4}


def make_loader(
    config: Config, rank: int = 0, world_size: int = 1, masks: Masks | None = None
) -> TrainLoader:
    sets = open_record_sets(config)
    return TrainLoader(config, sets, SHARES, DamageWatch(sets), rank, world_size, masks)


def read(
    config: Config,
    intervals: list[Interval],
    rank: int = 0,
    world_size: int = 1,
    masks: Masks | None = None,
) -> list[Batch]:
    loader = make_loader(config, rank, world_size, masks)
    return [batch for _, batches in loader.batches(intervals) for batch in batches]


@pytest.fixture
def make_config(small_config: dict[str, Any], tmp_path: Path) -> Callable[..., Config]:
    """Makes a run with these augmentations and values."""

    def make(augment: dict[str, Any] | None = None, **values: Any) -> Config:
        path = tmp_path / "job.yaml"
        tree = {**small_config, "augment": augment or {}, **values}
        path.write_text(yaml.safe_dump(tree, sort_keys=False))
        return load_config(path)

    return make


@pytest.fixture
def config(make_config: Callable[..., Config]) -> Config:
    return make_config(UNCHANGED)


@pytest.fixture
def sets(config: Config) -> list[RecordSet]:
    return open_record_sets(config)


@pytest.fixture
def coast(small_sets: dict[str, Path], tmp_path: Path) -> RecordSet:
    """A copy of a data set with masks: 24 train, 6 val, 14 test records, two shards each."""
    folder = Path(shutil.copytree(small_sets["coast"], tmp_path / "coast"))
    return RecordSet("coast", folder, Manifest.read(folder))


@pytest.fixture
def coast_config(make_config: Callable[..., Config], coast: RecordSet) -> Config:
    """A run on it."""
    return make_config(UNCHANGED, datasets={"coast": {"records": str(coast.folder)}})

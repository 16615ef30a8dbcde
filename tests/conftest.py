"""Fixtures that several test folders share: small data sets, configurations, runs of real ranks."""

import copy
import json
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import settings
from PIL import Image

from tests.aliases import WriteConfig
from tests.object_store import moto, object_store, proxy, through  # noqa: F401  fixtures
from tests.ranks import GRAPHS
from tests.strict_skips import pytest_addoption, pytest_configure  # noqa: F401  hooks
from train import environment
from train.step import graph_cache

# Networks in this process are of MindSpore's own operators in most tests, which need this cap (see
# train/environment.py). What is not a variable is not inherited: runs that tests start have none.
environment.prepare_for_mindspore()
environment.cap_instructions()

# All runs share their compiled graphs. Tests that put other functions into the place of what is
# compiled, which no key of a graph would know of, keep none (fixture `no_graphs`).
os.environ[graph_cache.VARIABLE] = str(GRAPHS)

# pytest-xdist sets it for a terminal that its workers do not have, and tables would fit that.
os.environ.pop("COLUMNS", None)

# Started with nohup or in the background of a script, the tests would hand ignored signals down to
# the processes that they start, and those honour it. The tests of signals need them as usual.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

# No test asserts times: on a busy machine an example may take longer than Hypothesis's 200 ms.
settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")

# name: (classes, pixels, images per class in train, val, test). The held-out counts divide by
# nothing, so that padding and uneven shares are always in play.
SMALL_SETS = {
    "fields": (3, 24, (10, 2, 5)),
    "roofs": (4, 28, (9, 1, 3)),
    "coast": (2, 20, (12, 3, 7)),
}


# This one has masks too: the bright stripes are of the scene's class, the dark ones of a third.
WITH_MASKS = "coast"
MASK_CLASSES = ["class0", "class1", "gap"]


def draw(rng: np.random.Generator, label: int, size: int) -> tuple[Image.Image, Image.Image]:
    """Stripes whose width tells the class, at any angle and in any colour, and their mask.

    Some columns at the left of the mask have no class, more in some pictures than in others.
    """
    y, x = np.mgrid[:size, :size]
    angle = rng.uniform(0, np.pi)
    wave = np.sin((x * np.cos(angle) + y * np.sin(angle)) * (0.4 + 0.5 * label))
    pixels = 128 + wave[..., None] * rng.uniform(30, 90, 3) + rng.normal(0, 8, (size, size, 3))
    mask = np.where(wave > 0, label, MASK_CLASSES.index("gap")).astype(np.uint8)
    mask[:, : int(10 * angle) % 9] = 255
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8)), Image.fromarray(mask)


@pytest.fixture(scope="session")
def small_sets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Three prepared data sets of different class counts, image sizes and record counts."""
    from tools.__main__ import main

    root = tmp_path_factory.mktemp("small_sets")
    prepared = {}
    for name, (classes, size, counts) in SMALL_SETS.items():
        rng = np.random.default_rng(classes)
        rows = ["file,class,split"]
        for label in range(classes):
            folders = [root / part / name / f"class{label}" for part in ("images", "masks")]
            for folder in folders:
                folder.mkdir(parents=True)
            for i, split in enumerate(np.repeat(["train", "val", "test"], counts)):
                for folder, picture in zip(folders, draw(rng, label, size), strict=True):
                    picture.save(folder / f"{i}.png")
                rows.append(f"class{label}/{i}.png,class{label},{split}")
        table = root / f"{name}.csv"
        table.write_text("\n".join(rows) + "\n")
        prepared[name] = root / "records" / name
        source = str(root / "images" / name)
        options = ["--out", str(prepared[name]), "--table", str(table), "--format", "png"]
        if name == WITH_MASKS:
            names = root / "mask_classes.json"
            names.write_text(json.dumps(MASK_CLASSES))
            options += ["--masks", str(root / "masks" / name), "--mask-classes", str(names)]
            options += ["--ignore", "255"]
        assert main(["prepare", source, *options, "--shards", "2", "--workers", "1"]) == 0
    return prepared


@pytest.fixture(scope="session")
def small_tree(small_sets: dict[str, Path]) -> dict[str, Any]:
    """A configuration that trains the small data sets in seconds. Do not change it in place."""
    return {
        "device": "CPU",
        "datasets": {name: {"records": str(path)} for name, path in small_sets.items()},
        "batch": {"images_per_task": 4},
        "image": {"size": 16},
        "model": {"depth": 10, "width": 1},
        "optimizer": {"learning_rate": 0.02},
        "schedule": {"steps": 4, "consolidate_every": 2},
        "evaluate": {"images": 12},
        "log_every": 1,
        # Of a process of its own, which takes seconds.
        "report": False,
    }


@pytest.fixture
def small_config(small_tree: dict[str, Any]) -> dict[str, Any]:
    """The same, for this test to change."""
    return copy.deepcopy(small_tree)


@pytest.fixture(scope="session")
def joint_tree(small_tree: dict[str, Any]) -> dict[str, Any]:
    """The same with a segmentation task more, whose images feed a scene task too."""
    tasks = {"coast": {}, "coast_pixels": {"dataset": "coast", "kind": "segmentation"}}
    return {**small_tree, "tasks": tasks}


@pytest.fixture(scope="session")
def one_task_tree(small_tree: dict[str, Any]) -> dict[str, Any]:
    """One data set of those: it compiles faster, and tests of a job need no more."""
    return {**small_tree, "datasets": {"coast": small_tree["datasets"]["coast"]}}


@pytest.fixture
def one_task_config(one_task_tree: dict[str, Any]) -> dict[str, Any]:
    """The same, for this test to change."""
    return copy.deepcopy(one_task_tree)


@pytest.fixture
def no_graphs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs keep no compiled graphs."""
    monkeypatch.setenv(graph_cache.VARIABLE, "0")


@pytest.fixture
def write_config(tmp_path: Path) -> WriteConfig:
    """Writes a configuration tree to a file."""

    def write(tree: dict[str, Any], name: str = "job.yaml") -> Path:
        path = tmp_path / name
        path.write_text(yaml.safe_dump(tree, sort_keys=False))
        return path

    return write


@pytest.fixture(scope="session")
def trained_run(joint_tree: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a norm per data set, a moving average and two checkpoints. Do not change it."""
    from train.__main__ import main

    folder = tmp_path_factory.mktemp("trained")
    tree = {
        **joint_tree,
        "model": {"depth": 10, "width": 1, "norm": "domain"},
        "ema": 0.5,
        "evaluate": {"every": 2, "images": 12},
        "checkpoint": {"every": 2, "keep": 2},
        "run_dir": str(folder / "run"),
    }
    config = folder / "run.yaml"
    config.write_text(yaml.safe_dump(tree))
    assert main([str(config)]) == 0
    return folder / "run"

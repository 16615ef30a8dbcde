"""The four real data sets: prepared, verified, trained from a bucket, results in the bucket.

They lie beside the project on the machines of its developers and are no part of it.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.object_store import ObjectStore, foreign_variables
from tests.paths import ROOT
from tools.__main__ import main as run_tool
from train.__main__ import main as run_training
from train.data.manifest import Manifest
from train.run.checkpoint_folder import load_newest
from train.storage.copier import copy

REAL = ROOT.parent / "shared" / "data"

# name: images, scene classes
SCENES = {"ucm": (2100, 21), "aid": (3000, 30), "nwpu_resisc12": (1200, 12), "gid_mtl5": (1391, 5)}
LAND_COVER = ("builtup", "farmland", "forest", "meadow", "water")
UNDEFINED = 5
# Segmentation tasks and their data sets.
DATASET_OF = {"land_cover": "gid_mtl5"}

pytestmark = pytest.mark.skipif(not REAL.is_dir(), reason=f"the real data sets are not at {REAL}")


@pytest.fixture
def prepare(tmp_path: Path) -> Callable[[str], Path]:
    def run(name: str) -> Path:
        source, options = REAL / name, []
        if name == "gid_mtl5":
            source /= "image"
            (tmp_path / "classes.json").write_text(json.dumps(LAND_COVER))
            options = ["--masks", str(REAL / name / "label"), "--ignore", str(UNDEFINED)]
            options += ["--mask-classes", str(tmp_path / "classes.json")]
        out = tmp_path / "records" / name
        # The given splits have look-alikes on both sides: what is published is used as it is.
        options += ["--table", str(REAL / name / "splits.csv"), "--duplicates", "allow"]
        assert run_tool(["prepare", str(source), "--out", str(out), "--size", "32", *options]) == 0
        return out

    return run


@pytest.mark.slow
def test_from_folders_over_a_bucket_to_results_in_the_bucket(
    prepare: Callable[[str], Path],
    object_store: ObjectStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    folders = {name: prepare(name) for name in SCENES}
    assert run_tool(["verify", *map(str, folders.values())]) == 0
    for name, (images, classes) in SCENES.items():
        manifest = Manifest.read(folders[name])
        assert sum(split.records for split in manifest.splits.values()) == images
        assert len(manifest.classes) == classes
    land_cover = Manifest.read(folders["gid_mtl5"])
    assert land_cover.masks["mask"].classes == LAND_COVER
    assert all(min(split.pixels["mask"]) > 0 for split in land_cover.splits.values())

    for name in foreign_variables():
        monkeypatch.delenv(name)
    for variable, value in object_store.variables.items():
        monkeypatch.setenv(variable, value)
    monkeypatch.setenv("MTLN_STORAGE_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    copy(str(tmp_path / "records"), object_store.url("records"))
    config = tmp_path / "real.yaml"
    config.write_text(yaml.safe_dump(job(object_store)))
    capfd.readouterr()
    assert run_training([str(config)]) == 0, capfd.readouterr().err

    copy(object_store.url("results/real"), str(tmp_path / "fetched"))
    summary = json.loads((tmp_path / "fetched" / "summary.json").read_text())
    assert summary["status"] == "completed" and summary["bad_records"]["found"] == 0
    for name, task in summary["tasks"].items():
        test = Manifest.read(folders[DATASET_OF.get(name, name)]).splits["test"]
        assert task["test"]["images"] == test.records
    # What is known of this data set: a scene label is the majority class of its pixels.
    assert summary["tasks"]["land_cover"]["test"]["oracle"]["pixel_accuracy"] > 0.95
    newest = load_newest(tmp_path / "fetched" / "checkpoints")
    assert newest is not None and newest[1].step == 2


def job(store: ObjectStore) -> dict[str, Any]:
    """A run of two steps: what counts is that everything arrives."""
    return {
        "device": "CPU",
        "data_root": store.url("records"),
        "run_dir": store.url("results/real"),
        "datasets": {name: {"records": name} for name in SCENES},
        "tasks": {
            **{name: {} for name in SCENES},
            **{t: {"dataset": d, "kind": "segmentation"} for t, d in DATASET_OF.items()},
        },
        "batch": {"images_per_task": 2},
        "image": {"size": 16},
        "model": {"depth": 10, "width": 1},
        "schedule": {"steps": 2, "consolidate_every": 2},
        "evaluate": {"images": 200},
        "report": False,
    }

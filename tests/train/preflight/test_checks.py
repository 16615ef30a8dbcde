"""What is found before anything starts; single mistakes are in tests/mistakes."""

import copy
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from launch.arguments import parse
from launch.preflight import check_job
from tests.aliases import WriteConfig
from train.config.reader import load_config
from train.config.schema import Config
from train.data.manifest import open_record_sets
from train.errors import UserError
from train.preflight import checks, limits
from train.preflight.memory import least_memory
from train.run.checkpoint import Checkpoint
from train.run.checkpoint_folder import save_checkpoint
from train.run.identity import run_identity


@pytest.fixture
def config(small_tree: dict[str, Any], write_config: WriteConfig) -> Config:
    return load_config(write_config(small_tree))


def changed(config: Config, **sections: dict[str, Any]) -> Config:
    tree = config.model_dump()
    for name, values in sections.items():
        tree[name] = {**tree[name], **values}
    return Config.model_validate(tree)


def test_a_run_that_is_right(config: Config) -> None:
    assert checks.check(config, ranks=2, ranks_here=2, on_cpu=True) == []


def test_every_mistake_of_the_data_sets_is_told_at_once(
    small_config: dict[str, Any], write_config: WriteConfig
) -> None:
    small_config["datasets"]["roofs"]["records"] = "nowhere"
    small_config["tasks"] = {
        "fields": {"classes": 9},
        "roofs": {},
        "cover": {"dataset": "coast", "kind": "segmentation", "masks": "coats"},
    }
    with pytest.raises(UserError) as caught:
        checks.check(load_config(write_config(small_config)))
    first, second, third = str(caught.value).splitlines()
    assert first.startswith("datasets.roofs.records: nowhere: no such folder")
    assert "tasks.fields.classes: 9 classes are expected" in second
    assert "has 3 (class0, class1, class2)" in second
    assert third.startswith("tasks.cover.masks: ") and "no masks 'coats'" in third


def test_a_damaged_manifest_is_told_with_its_key(config: Config, tmp_path: Path) -> None:
    (tmp_path / "records").mkdir()
    (tmp_path / "records/manifest.json").write_text("{}")
    tree = copy.deepcopy(config.model_dump())
    tree["datasets"]["coast"]["records"] = tmp_path / "records"
    with pytest.raises(UserError, match=r"^datasets.coast.records: .*manifest.json: format"):
        checks.check(Config.model_validate(tree))


def test_of_records_in_object_storage_nothing_is_said(
    small_config: dict[str, Any], write_config: WriteConfig
) -> None:
    """They are not here yet, and with them a mixed batch of one image would be too small."""
    small_config["datasets"]["coast"]["records"] = "s3://bucket/coast"
    small_config["batch"] = {"images_per_task": 1}
    assert checks.check(load_config(write_config(small_config)), ranks=8) == []
    small_config["data_root"] = "obs://bucket"
    small_config["datasets"] = {"coast": {"records": "coast"}}
    assert checks.check(load_config(write_config(small_config)), ranks=8) == []


def test_what_is_allowed_but_may_not_be_meant(config: Config) -> None:
    large = changed(config, batch={"images_per_task": 30}, image={"size": 100})
    notes = checks.check(large)
    batches = [note for note in notes if note.startswith("batch: ")]
    assert batches == [
        "batch: every step takes 30 images of coast, which has 24 training records: some come "
        "several times in a step"
    ]
    sizes = [note for note in notes if note.startswith("image.size: ")]
    assert sizes == [
        "image.size: 100 is more than four times the size of the pictures of fields, which have "
        "at most 24 pixels",
        "image.size: 100 is more than four times the size of the pictures of coast, which have "
        "at most 20 pixels",
    ]


def test_masks_that_are_made_much_smaller_are_told(config: Config) -> None:
    """Of the data sets, coast alone feeds a segmentation task."""
    config = changed(config, tasks={"fields": {}, "roofs": {}, "coast": {"kind": "segmentation"}})
    notes = checks.check(changed(config, image={"size": 8}))
    [note] = [note for note in notes if "masks" in note]
    assert note.startswith("image.size: pictures of coast, of up to 20 x 20 pixels, become 8 x 8")
    assert not any("masks" in note for note in checks.check(changed(config, image={"size": 10})))


@pytest.mark.parametrize(
    ("name", "says"), [("one", "give .*/one$"), ("x", "give one of one, two ")]
)
def test_records_one_level_deeper(
    small_config: dict[str, Any], write_config: WriteConfig, tmp_path: Path, name: str, says: str
) -> None:
    """The one of the same name, or all of them."""
    records = Path(small_config["datasets"]["roofs"]["records"])
    for folder in ("one", "two"):
        shutil.copytree(records, tmp_path / "sets" / folder)
    small_config["datasets"] = {name: {"records": str(tmp_path / "sets")}}
    small_config["tasks"] = {}
    with pytest.raises(UserError, match=f"one level deeper: {says}"):
        checks.check(load_config(write_config(small_config)))


@pytest.mark.parametrize("ranks", [1, 2])
def test_memory_is_counted_for_all_ranks_of_a_machine(
    config: Config, monkeypatch: pytest.MonkeyPatch, ranks: int
) -> None:
    """Two ranks with half the images each need as much as one."""
    config = changed(config, image={"size": 1024})
    images = 12 // ranks
    needed = least_memory(config, images)
    assert needed > images * 1024 * 1024 * (3 + 4 * 3)
    monkeypatch.setattr(limits, "memory", lambda: needed * ranks)
    checks.check(config, ranks, ranks, on_cpu=True)
    monkeypatch.setattr(limits, "memory", lambda: needed * ranks - 1)
    with pytest.raises(UserError, match=r"^image.size: a step with .* 1,024 x 1,024 pixels needs"):
        checks.check(config, ranks, ranks, on_cpu=True)


def test_the_least_memory_grows_with_what_needs_it(config: Config) -> None:
    base = least_memory(config, 4)
    of_images = least_memory(config, 8) - base
    assert least_memory(config, 12) == base + 2 * of_images
    for wider in ({"width": 2}, {"depth": 16}):
        assert least_memory(changed(config, model=wider), 4) > base
    smaller = config.model_copy(update={"precision": "float16"})
    assert least_memory(smaller, 4) < base


def test_only_the_node_that_leads_a_job_checks_it(
    small_config: dict[str, Any], write_config: WriteConfig
) -> None:
    """Another node that ended at once would keep it waiting."""
    small_config["datasets"]["coast"]["records"] = "nowhere"
    path = str(write_config(small_config))
    nodes = ["--nnodes", "2", "--master", "localhost", "nproc=1"]
    assert check_job(parse([path, *nodes, "--node-rank", "1"])) == ()
    with pytest.raises(UserError, match="nowhere"):
        check_job(parse([path, *nodes, "--node-rank", "0"]))


def test_the_demo_data_may_be_missing_in_a_plan(
    small_config: dict[str, Any], write_config: WriteConfig
) -> None:
    """The scripts make them before they start a job."""
    small_config["datasets"]["coast"]["records"] = "data/demo/records/demo_coast"
    path = str(write_config(small_config))
    [note] = check_job(parse([path, "--dry-run"]))
    assert "python -m tools demo-data" in note
    with pytest.raises(UserError, match="python -m tools demo-data"):
        check_job(parse([path]))


def with_checkpoint(config: Config) -> Path:
    """The state.json of a checkpoint of the run in its folder."""
    identity = run_identity(config, open_record_sets(config))
    state = {"run": {**identity, "precision": "float32"}}
    arrays = {"w": np.zeros(1, np.float32)}
    checkpoint = Checkpoint(2, arrays, arrays, state)
    folder = config.run_folder / "checkpoints"
    folder.mkdir(parents=True)
    return save_checkpoint(folder, checkpoint, keep=1) / "state.json"


def test_a_damaged_checkpoint_is_not_taken_for_another_run(config: Config, tmp_path: Path) -> None:
    """A bit is off in a name: whatever else stands there cannot be trusted."""
    mine = config.model_copy(update={"run_dir": tmp_path / "run"})
    state = with_checkpoint(mine)
    state.write_bytes(state.read_bytes().replace(b'"augment"', b'"augmgnt"'))
    checks.check_folder(mine)


def test_another_run_in_the_folder_is_told_before_anything_starts(
    config: Config, small_config: dict[str, Any], write_config: WriteConfig, tmp_path: Path
) -> None:
    mine = config.model_copy(update={"run_dir": tmp_path / "run"})
    checks.check_folder(mine)
    with_checkpoint(mine)
    (mine.run_folder / "checkpoints/step_00000002/model.safetensors").unlink()  # is not looked at
    checks.check_folder(mine)
    small_config["model"]["depth"] = 16
    words = [str(write_config(small_config)), f"run_dir={tmp_path / 'run'}"]
    with pytest.raises(UserError, match=r"model.depth was 10 and is now 16 \(choose another"):
        check_job(parse(words))


def test_what_a_run_is_to_begin_with_must_be_there(config: Config, tmp_path: Path) -> None:
    gone = {"init_from": tmp_path / "gone.ckpt", "run_dir": tmp_path / "run"}
    missing = config.model_copy(update=gone)
    with pytest.raises(UserError, match=r"^init_from: .*gone.ckpt: no such file or folder$"):
        checks.check_folder(missing)
    with_checkpoint(missing)  # then it is not needed any more
    checks.check_folder(missing)

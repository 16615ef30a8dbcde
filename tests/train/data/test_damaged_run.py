"""A record that is damaged, in a real run: it is named, and nothing trained is lost."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.ranks import run_train
from tests.train.data.spoil import spoil_record
from tests.train.runs import summary_of
from train.__main__ import main
from train.data.manifest import Manifest, RecordSet

WriteConfig = Callable[[dict[str, Any]], Path]
RECORD = 5


@pytest.fixture
def spoiled(small_sets: dict[str, Path], tmp_path: Path) -> tuple[Path, str]:
    """A data set with one damaged training record: its folder and how the record is named."""
    folder = Path(shutil.copytree(small_sets["coast"], tmp_path / "coast"))
    record_set = RecordSet("coast", folder, Manifest.read(folder))
    key, shard = spoil_record(record_set, "train", RECORD)
    return folder, f"coast: record {RECORD} of train ({key}) in {shard}: its checksum differs"


@pytest.fixture
def config(
    one_task_config: dict[str, Any], spoiled: tuple[Path, str], write_config: WriteConfig
) -> Path:
    folder, _ = spoiled
    one_task_config["datasets"] = {"coast": {"records": str(folder)}}
    # Two passes: the damaged record's turn is sure to come before the end.
    one_task_config["schedule"] = {"steps": 12, "consolidate_every": 3}
    return write_config(one_task_config)


def test_found_before_the_training(
    config: Path, spoiled: tuple[Path, str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main([str(config), f"run_dir={tmp_path / 'run'}"]) == 2
    error = capfd.readouterr().err
    assert spoiled[1] in error and "nothing was trained" in error and "Traceback" not in error
    assert not (tmp_path / "run").exists()


@pytest.mark.cluster
def test_found_in_the_training(config: Path, spoiled: tuple[Path, str], tmp_path: Path) -> None:
    """Two ranks stop together, with a checkpoint; one goes on from it without the record."""
    run = tmp_path / "run"
    job = [config, f"run_dir={run}", "check_records=false"]
    stopped = run_train(2, *job, check=False)
    assert stopped.returncode == 2, stopped.stderr
    assert spoiled[1] in stopped.stderr and "Traceback" not in stopped.stderr
    [checkpoint] = (run / "checkpoints").iterdir()
    step = int(checkpoint.name.removeprefix("step_"))
    assert step % 3 == 0 and f"stopped, saved at step {step}" in stopped.stderr
    assert step < 12 and not (run / "summary.json").exists()

    assert main([*map(str, job), "on_bad_record=skip"]) == 0
    summary = summary_of(run)
    assert summary["step"] == 12
    assert summary["bad_records"]["records"] == [spoiled[1]]
    assert summary["bad_records"]["found"] == 1
    assert summary["bad_records"]["images_replaced"] >= 1

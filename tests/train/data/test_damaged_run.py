"""A record that is damaged, in a real run: it is named, and nothing trained is lost."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.aliases import WriteConfig
from tests.ranks import run_train
from tests.train.data.spoil import declare_whole, spoil_record
from tests.train.runs import summary_of
from train.__main__ import main
from train.data.manifest import RecordSet
from train.data.sampler import TrainStream

CHECKSUM = "its checksum differs"


@pytest.fixture
def config(one_task_config: dict[str, Any], coast: RecordSet, write_config: WriteConfig) -> Path:
    one_task_config["datasets"] = {"coast": {"records": str(coast.folder)}}
    # Two passes, four intervals; two of them in a pass.
    one_task_config["schedule"] = {"steps": 12, "consolidate_every": 3}
    return write_config(one_task_config)


def planned(step: int, rank: int = 0, world_size: int = 1) -> int:
    """The number of a record that a rank reads in a step."""
    plan: np.ndarray = TrainStream("coast", 24, 4, seed=1).records(step, step + 1, rank, world_size)
    return int(plan[0, -1])


def refused(config: Path, capfd: pytest.CaptureFixture[str], *overrides: str) -> str:
    """What a run of one rank in this process says that ends with an error."""
    assert main([str(config), *overrides]) == 2
    error = capfd.readouterr().err
    assert "Traceback" not in error
    return "".join(line for line in error.splitlines() if line.startswith("error: "))


def test_found_before_the_training(
    config: Path, coast: RecordSet, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    key, shard = spoil_record(coast, "train", 5)
    error = refused(config, capfd, f"run_dir={tmp_path / 'run'}")
    assert f"coast: record 5 of train ({key}) in {shard}: {CHECKSUM}: nothing was trained" in error
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("cache", ["none", "ram"])
def test_found_in_the_first_batch(
    config: Path, coast: RecordSet, tmp_path: Path, cache: str, capfd: pytest.CaptureFixture[str]
) -> None:
    bad = planned(0)
    spoil_record(coast, "train", bad)
    declare_whole(coast)
    run = tmp_path / "run"
    error = refused(config, capfd, f"run_dir={run}", f"cache={cache}")
    assert f"coast: record {bad} of train in" in error and "nothing was trained" in error
    assert not list(run.glob("checkpoints/*")) and not (run / "summary.json").exists()


@pytest.mark.slow
@pytest.mark.cluster
def test_found_in_the_evaluation(config: Path, coast: RecordSet, tmp_path: Path) -> None:
    """On the way, with a checkpoint; and in the last one, after the last checkpoint."""
    run = tmp_path / "run"
    settings = ["check_records=false", "evaluate.every=3", "schedule.steps=6"]
    stored = {split: spoil(coast, split, 2) for split in ("val", "test")}
    for split, step in (("val", 3), ("test", 6)):
        content, name = stored[split]
        stopped = run_train(1, config, f"run_dir={run}", *settings, check=False)
        assert stopped.returncode == 2, stopped.stderr
        assert f"coast: record 2 of {split} ({name}: {CHECKSUM}: " in stopped.stderr
        assert f"stopped, saved at step {step} " in stopped.stderr
        assert "Traceback" not in stopped.stderr
        assert (run / f"checkpoints/step_{step:08d}").is_dir()
        assert not (run / "summary.json").exists()
        (coast.folder / f"{split}.mindrecord0").write_bytes(content)


def spoil(coast: RecordSet, split: str, number: int) -> tuple[bytes, str]:
    """Spoils a record of the first shard: (what was in the shard, key and shard of the record)."""
    content = (coast.folder / f"{split}.mindrecord0").read_bytes()
    key, shard = spoil_record(coast, split, number)
    assert shard == f"{split}.mindrecord0"
    return content, f"{key}) in {shard}"


@pytest.mark.slow
@pytest.mark.cluster
def test_found_by_one_of_two_ranks(config: Path, coast: RecordSet, tmp_path: Path) -> None:
    """Both stop together, with a checkpoint; with the data as it was, the run goes on."""
    whole = Path(shutil.copytree(coast.folder, tmp_path / "whole"))
    bad = planned(4, rank=1, world_size=2)
    key, shard = spoil_record(coast, "train", bad)
    run = tmp_path / "run"
    job = [config, f"run_dir={run}", "check_records=false"]
    stopped = run_train(2, *job, check=False)
    assert stopped.returncode == 2, stopped.stderr
    assert "Traceback" not in stopped.stderr
    end = "stopped, saved at step 6"
    assert f"coast: record {bad} of train ({key}) in {shard}: {CHECKSUM}: {end}" in stopped.stderr
    assert "another rank" not in stopped.stderr
    [checkpoint] = (run / "checkpoints").iterdir()
    assert checkpoint.name == "step_00000006" and not (run / "summary.json").exists()

    shutil.copyfile(whole / shard, coast.folder / shard)
    assert main(list(map(str, job))) == 0
    summary = summary_of(run)
    assert summary["step"] == 12 and summary["bad_records"] == {"found": 0, "records": []}

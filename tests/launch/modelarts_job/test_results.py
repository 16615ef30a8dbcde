"""What becomes of the results of a job whose ranks end in any way, in simulated containers."""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.launch.modelarts_job.containers import (
    Container,
    await_that,
    end_of,
    project_copy,
)
from tests.object_store import SECRET, ObjectStore, Proxy

# As the platform starts a node, and as msrun starts rank 0.
STARTS = ("node", "msrun")
MSRUN = {"MS_ROLE": "MS_WORKER", "MS_NODE_ID": "0", "RANK_ID": "0", "MS_WORKER_NUM": "1"}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Only the training program is another one."""
    return project_copy(tmp_path_factory.mktemp("project"), "train")


@pytest.fixture
def box(tmp_path: Path, project: Path) -> Container:
    return Container(tmp_path / "box", project)


Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture(params=STARTS)
def start(request: pytest.FixtureRequest, box: Container, object_store: ObjectStore) -> Start:
    """Starts a job of one rank whose run folder is in a bucket, either way."""
    rank = MSRUN if request.param == "msrun" else {}
    words = ("--config", "configs/job.yaml", "--train_url", object_store.url("out"))

    def start(**variables: str) -> "subprocess.Popen[str]":
        count = () if rank else ("--nproc", "1")
        return box.start(*words, *count, **{**object_store.variables, **rank, **variables})

    return start


def results(store: ObjectStore) -> list[str]:
    """Names of what is in the bucket, without the logs."""
    names = (key.removeprefix("out/") for key in store.keys("out/"))
    return [name for name in names if not name.startswith("logs/")]


def test_results_are_saved_after_a_failure_too(start: Start, object_store: ObjectStore) -> None:
    code, _, err = end_of(start(TEST_EXIT="7"))
    assert code == 7, err
    assert results(object_store) == ["config.yaml", "metrics.jsonl"]
    # Of a node the logs too; the output of a rank of msrun's is msrun's to keep.
    assert set(object_store.keys("out/logs")) <= {"out/logs/attempt_0/worker_0.log"}


def test_a_signal_reaches_the_training_and_what_it_leaves_is_saved(
    start: Start, box: Container, object_store: ObjectStore
) -> None:
    process = start(TEST_HANG="1")
    await_that((box.notes / "0.json").exists, process)
    process.send_signal(signal.SIGTERM)
    code, _, err = end_of(process)
    assert code == 128 + signal.SIGTERM, err
    assert object_store.get("out/stopped") == b"15"


def test_results_are_saved_after_a_kill_of_the_rank(
    start: Start, box: Container, object_store: ObjectStore
) -> None:
    process = start(TEST_HANG="1")
    await_that((box.notes / "0.json").exists, process)
    os.kill(box.noted("0")["pid"], signal.SIGKILL)
    code, _, err = end_of(process)
    assert code == 128 + signal.SIGKILL, err
    assert results(object_store) == ["config.yaml", "metrics.jsonl"]


def test_nothing_outlives_the_boot_process(start: Start, box: Container) -> None:
    process = start(TEST_HANG="1")
    await_that((box.notes / "0.json").exists, process)
    process.kill()
    process.communicate()
    training = Path(f"/proc/{box.noted('0')['pid']}/cmdline")
    deadline = time.monotonic() + 60
    while training.exists() and b"-m" in training.read_bytes():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_results_that_cannot_be_saved_are_told(
    start: Start, box: Container, object_store: ObjectStore, proxy: Proxy, through: dict[str, str]
) -> None:
    proxy.only = "PUT"
    proxy.faults.extend([403] * 50)
    code, _, err = end_of(start(**through))
    assert code == 1
    denied, told = err.splitlines()
    assert denied.startswith("error: ") and "access denied" in denied
    url = object_store.url("out")
    where = box.project / f"runs/{object_store.bucket}/out"
    assert told == f"error: the results are not all in {url}; they are in {where}"
    assert (where / "metrics.jsonl").exists()
    assert SECRET not in err

"""Real training through the boot file: data from a bucket, results into it, on CPU ranks."""

import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.launch.modelarts_job.containers import (
    Container,
    card_variables,
    end_of,
    group_list,
    node_variables,
    project_copy,
)
from tests.npus import with_npus
from tests.object_store import KEY, SECRET, TOKEN, ObjectStore
from train.storage.copier import copy

# Where the machine is slow, a consolidation point may be far.
PATIENT = ("--grace", "300")
# So many that a signal comes in time.
STEPS = 100


@pytest.fixture
def bucket(object_store: ObjectStore, small_sets: dict[str, Path]) -> ObjectStore:
    """A bucket with the small data sets below "data"."""
    for name, path in small_sets.items():
        copy(str(path), object_store.url(f"data/{name}"), object_store.variables)
    return object_store


@pytest.fixture
def config(one_task_config: dict[str, Any], write_config: Callable[..., Path]) -> Path:
    """The records of the data sets are below the data root, under their names."""
    one_task_config["datasets"] = {"coast": {"records": "coast"}}
    return write_config(one_task_config)


def container(folder: Path, cache: Path | None = None) -> Container:
    """A container with a project of its own, in which is the run folder."""
    return Container(folder, project_copy(folder), cache)


def job(config: Path, bucket: ObjectStore, *more: str) -> list[str]:
    places = ("--data_url", bucket.url("data"), "--train_url", bucket.url("results"))
    return [f"--config={config}", *places, *PATIENT, *more]


@pytest.mark.slow
def test_every_card_fails_as_the_copier_fails(
    tmp_path: Path, config: Path, object_store: ObjectStore
) -> None:
    table = group_list(pods=1, hosts=["127.0.0.1"])
    (tmp_path / "jobstart_hccl.json").write_text(table)
    box = Container(tmp_path / "box")
    box.before = with_npus(tmp_path, 0, 1)  # of which the configuration makes no use
    url = object_store.url("nothing here")
    processes = [
        box.start(
            f"--config={config}",
            *("--data_url", url, f"--run_dir={tmp_path / 'run'}"),
            **card_variables(rank, 2, 2, tmp_path),
            **object_store.variables,
            MTLN_JOB_ID=str(os.getpid()),
        )
        for rank in range(2)
    ]
    ends = [end_of(process) for process in processes]
    assert [code for code, _, _ in ends] == [2, 2], ends
    assert [err for _, _, err in ends] == [f"error: {url}/coast: there is nothing\n", ""]
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["logs"]


@pytest.mark.slow
@pytest.mark.cluster
def test_a_job_is_stopped_and_finished_in_another_container(
    tmp_path: Path, config: Path, bucket: ObjectStore
) -> None:
    """One node, two ranks; of the first container nothing is left but what is in the bucket."""
    platform = {**node_variables(0, 1, 2), **bucket.variables}
    first, second = container(tmp_path / "first"), container(tmp_path / "second")
    long = f"--schedule.steps={STEPS}"
    process = first.start(*job(config, bucket, long), **platform)
    assert process.stdout
    lines = iter(process.stdout.readline, "")
    assert any(line.startswith(f"step 2/{STEPS} ") for line in lines), process.communicate()
    process.send_signal(signal.SIGTERM)
    code, out, err = end_of(process)
    assert code == 128 + signal.SIGTERM, f"{out}\n{err}"
    shutil.rmtree(tmp_path / "first")
    [saved] = [key for key in bucket.keys("results/checkpoints/") if key.endswith("state.json")]
    stopped = json.loads(bucket.get(saved))["step"]
    assert 2 <= stopped < STEPS
    assert bucket.keys("results/summary.json") == []

    code, out, err = second.run(*job(config, bucket, long), **platform)
    assert code == 0, f"{out}\n{err}"
    run_dir = f"runs/{bucket.bucket}/results"
    assert f"Resuming from {run_dir}/checkpoints/step_{stopped:08d}\n" in out
    summary = json.loads(bucket.get("results/summary.json"))
    assert (summary["status"], summary["world_size"], summary["step"]) == ("completed", 2, STEPS)
    keys = bucket.keys("results/")
    for name in ("model.safetensors", "optimizer.safetensors", "state.json"):
        assert f"results/checkpoints/step_{STEPS:08d}/{name}" in keys
    # The logs of both, one beside the other.
    assert {f"results/logs/attempt_{k}/worker_1.log" for k in (0, 1)} <= set(keys)


@pytest.mark.slow
@pytest.mark.cluster
def test_two_nodes(tmp_path: Path, config: Path, bucket: ObjectStore) -> None:
    """Two containers, each with a cache of its own at the same place."""
    cache = tmp_path / "cache"
    nodes = [container(tmp_path / f"node{i}", cache) for i in range(2)]
    processes = [
        node.start(*job(config, bucket), **node_variables(i, 2, 1), **bucket.variables)
        for i, node in enumerate(nodes)
    ]
    ends = [end_of(process) for process in processes]
    assert [code for code, _, _ in ends] == [0, 0], ends
    keys = bucket.keys("results/")
    summary = json.loads(bucket.get("results/summary.json"))
    assert (summary["status"], summary["world_size"], summary["step"]) == ("completed", 2, 4)
    assert {f"results/logs/attempt_0/worker_{rank}.log" for rank in (0, 1)} <= set(keys)
    assert "results/checkpoints/step_00000004/state.json" in keys
    assert not list(cache.iterdir())  # both had one of their own
    # Nothing that was printed or saved tells a key.
    told = "".join(out + err for _, out, err in ends).encode()
    for text in (told, *(bucket.get(key) for key in keys)):
        assert not any(word.encode() in text for word in (KEY, SECRET, TOKEN))

"""Real training in two containers of a job, with the variables of whatever has started them."""

import json
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.launch.kubernetes.containers import start_job
from tests.launch.training_jobs import TrainingJob, steps_in, write_job
from tests.launch.two_networks import Node
from tests.marked import Marked
from tests.object_store import ObjectStore
from tests.paths import ROOT
from train.storage.address import local_run_folder

pytestmark = pytest.mark.cluster

STEPS = 8
# Where the machine is slow, a consolidation point may be far.
PATIENT = ("--grace", "300")
# So many steps that a signal comes in time.
ENDLESS = "schedule.steps=100000"

StartContainers = Callable[..., list[TrainingJob]]


@pytest.fixture(scope="module")
def config(one_task_tree: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kubernetes")
    return write_job(folder, one_task_tree, STEPS, consolidate_every=4, every=4, keep=9)


@pytest.fixture
def start(
    places: tuple[Node, Node], config: Path, free_port: int, tmp_path: Path, started: list[Marked]
) -> StartContainers:
    """Starts a job of two containers by "operator" or "volcano"."""

    def start(starter: str, npus: int, *options: object) -> list[TrainingJob]:
        options = (*PATIENT, *options)
        containers, services = start_job(
            starter, places, free_port, npus, config, tmp_path / "run", *options
        )
        started.extend([*containers, *services])
        return containers

    return start


@pytest.fixture
def folders() -> Iterator[list[Path]]:
    """Folders in the project's ``runs``, to be removed with what is around them."""
    folders: list[Path] = []
    yield folders
    for folder in folders:
        shutil.rmtree(folder.parent, ignore_errors=True)


def ends(containers: list[TrainingJob]) -> tuple[list[int], list[str], list[str]]:
    """Exit codes, standard outputs and standard errors; nothing may be left."""
    finished = [container.finish() for container in containers]
    for container in containers:
        container.assert_all_gone()
    codes, outs, errs = zip(*finished, strict=True)
    return list(codes), list(outs), list(errs)


@pytest.mark.slow
@pytest.mark.parametrize(("starter", "npus"), [("operator", 2), ("volcano", 1)])
def test_containers_form_one_world_in_their_order(
    start: StartContainers, tmp_path: Path, starter: str, npus: int
) -> None:
    containers = start(starter, npus)
    last = f"rank {2 * npus - 1}"
    containers[1].wait_until(lambda: containers[1].pid(last) != 0)
    variables = containers[1].variables(containers[1].pid(last))
    assert (variables["MS_ROLE"], variables["RANK_SIZE"]) == ("MS_WORKER", str(2 * npus))
    assert variables["DEVICE_ID"] == str(npus - 1)
    assert containers[1].pid("scheduler") == 0
    codes, outs, errs = ends(containers)
    assert codes == [0, 0], errs
    assert f"starting {2 * npus} ranks on 2 nodes" in outs[0]
    assert f"node 1: starting ranks {npus} to {2 * npus - 1} of {2 * npus}" in outs[1]
    summary = json.loads((tmp_path / "run/summary.json").read_text())
    assert (summary["status"], summary["world_size"]) == ("completed", 2 * npus)
    assert steps_in(tmp_path / "run") == list(range(1, STEPS + 1))


def test_rank_that_dies_in_a_worker_ends_the_job_with_one_report(start: StartContainers) -> None:
    containers = start("operator", 1, ENDLESS)
    containers[1].hit("rank 1", signal.SIGKILL)
    codes, _, errs = ends(containers)
    assert codes == [128 + signal.SIGKILL] * 2
    assert errs[0].count("failed first") == 1
    assert "rank 1 failed first: killed by SIGKILL" in errs[0]
    assert "failed first" not in errs[1]


@pytest.mark.slow
def test_term_to_a_worker_saves_to_object_storage(
    config: Path,
    free_port: int,
    object_store: ObjectStore,
    started: list[Marked],
    folders: list[Path],
) -> None:
    url = object_store.url("results")
    folders.append(ROOT / local_run_folder(url))
    options = (f"run_dir={url}", "--require-upload", ENDLESS, *PATIENT)
    here = [Node((), "127.0.0.1")] * 2  # the store is on the loopback of this machine
    store = object_store.variables
    containers, _ = start_job("operator", here, free_port, 1, config, folders[0], *options, **store)
    started.extend(containers)
    assert containers[0].process.stdout
    lines = iter(containers[0].process.stdout.readline, "")
    assert any(line.startswith("step 2/") for line in lines), containers[0].process.communicate()
    containers[1].process.terminate()
    codes, _, errs = ends(containers)
    assert codes == [128 + signal.SIGTERM] * 2, errs
    keys = object_store.keys("results/")
    assert len([key for key in keys if key.endswith("state.json")]) == 1
    assert {f"results/logs/attempt_0/worker_{rank}.log" for rank in (0, 1)} <= set(keys)

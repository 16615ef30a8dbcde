"""Two nodes, each with a network of its own: two ranks on each train together."""

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.launch.training_jobs import TrainingJob, newest_step, steps_in, write_job
from tests.launch.two_networks import Node
from tests.marked import Marked

pytestmark = pytest.mark.cluster

STEPS = 12


@pytest.fixture(scope="module")
def config(one_task_tree: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("nodes")
    return write_job(folder, one_task_tree, STEPS, consolidate_every=4, every=4, keep=9)


StartNodes = Callable[..., tuple[TrainingJob, TrainingJob]]


@pytest.fixture
def start(
    places: tuple[Node, Node], config: Path, free_port: int, tmp_path: Path, started: list[Marked]
) -> StartNodes:
    """Starts a job of two ranks on each node."""

    def start(*options: object) -> tuple[TrainingJob, TrainingJob]:
        meet = ("--nnodes", "2", "--master", f"{places[0].address}:{free_port}")
        jobs = []
        for number, place in enumerate(places):
            arguments = ("nproc=2", *meet, "--node-rank", number, *options)
            jobs.append(TrainingJob(config, tmp_path / "run", *arguments, prefix=place.prefix))
            started.append(jobs[-1])
        return jobs[0], jobs[1]

    return start


@pytest.mark.slow
def test_ranks_of_both_nodes_train_start_again_and_finish(
    start: StartNodes, places: tuple[Node, Node], tmp_path: Path
) -> None:
    run_dir = tmp_path / "run"
    nodes = start("--max-restarts", "1")
    nodes[0].wait_until(lambda: newest_step(run_dir) > 0)
    assert nodes[1].variables(nodes[1].pid("rank 3"))["MS_SCHED_HOST"] == places[0].address
    nodes[1].hit("rank 3", signal.SIGKILL)
    (code0, out0, err0), (code1, _, err1) = (node.finish() for node in nodes)
    assert (code0, code1) == (0, 0), err0 + err1
    # Node 0 speaks for all.
    assert "rank 3 failed first: killed by SIGKILL" in err0
    assert "restart 1 of 1" in err0
    assert "Resuming from" in out0
    summary = json.loads((run_dir / "summary.json").read_text())
    assert (summary["status"], summary["world_size"]) == ("completed", 4)
    assert steps_in(run_dir) == list(range(1, STEPS + 1))
    for attempt in (0, 1):
        logs = {log.name for log in (run_dir / "logs" / f"attempt_{attempt}").iterdir()}
        assert logs == {"scheduler.log", *(f"worker_{rank}.log" for rank in range(4))}
    for node in nodes:
        node.assert_all_gone()


@pytest.mark.slow
def test_goes_on_with_half_of_its_ranks_when_a_node_is_lost(
    start: StartNodes, tmp_path: Path
) -> None:
    run_dir = tmp_path / "run"
    nodes = start("--max-restarts", "1", "--min-nodes", "1", "--node-timeout", "20")
    nodes[0].wait_until(lambda: newest_step(run_dir) > 0)
    nodes[1].process.kill()
    code, out, err = nodes[0].finish()
    assert code == 0, err
    assert "node 1 did not come back within 20 s: going on with 1 of 2 nodes" in out
    summary = json.loads((run_dir / "summary.json").read_text())
    assert (summary["status"], summary["world_size"]) == ("completed", 2)
    assert steps_in(run_dir) == list(range(1, STEPS + 1))
    for node in nodes:
        node.assert_all_gone()


@pytest.mark.parametrize("killed", [0, 1])
def test_kill_of_a_launcher_takes_the_other_node_down(
    start: StartNodes, places: tuple[Node, Node], killed: int
) -> None:
    nodes = start("--max-restarts", "1")
    nodes[0].wait_until(lambda: nodes[0].pid("rank 1") != 0)
    nodes[1].wait_until(lambda: nodes[1].pid("rank 3") != 0)
    nodes[killed].process.kill()
    left = nodes[1 - killed]
    code, _, err = left.finish()
    assert code == 1
    assert f"node {killed} (" in err
    assert "is gone: its launcher was killed, or the network broke" in err
    for node in nodes:
        node.assert_all_gone()

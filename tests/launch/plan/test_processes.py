"""The plan: who runs where with which variables."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from launch.dry_run import to_json, to_text
from launch.job import Job
from launch.plan.machine import Machine
from launch.plan.processes import Node, Process, World, make_plan

WORKER = ["python", "-m", "train", "config.yaml"]
SCHEDULER = ["python", "-m", "launch.scheduler"]
JOB = Job(WORKER, Path("run"), scheduler_command=SCHEDULER)
CPU8 = Machine(npus=(), core_groups=(tuple(range(8)),))
MEETING = ("10.0.0.1", "23456")


def plan(
    nproc: int,
    machine: Machine = CPU8,
    environment: Mapping[str, str] | None = None,
    node: Node | None = None,
    world: World | None = None,
) -> list[Process]:
    node = node or Node(0, "here", 0, nproc)
    world = world or World(nproc, MEETING if nproc > 1 else None)
    return make_plan(JOB, node, world, machine, environment or {})


def test_one_rank_needs_no_scheduler() -> None:
    (worker,) = plan(1)
    assert (worker.rank, worker.command, worker.log_name) == (0, tuple(WORKER), "worker_0.log")
    assert worker.cores is None and not worker.batch
    identity = {name: worker.variables[name] for name in ("RANK_ID", "RANK_SIZE", "DEVICE_ID")}
    assert identity == {"RANK_ID": "0", "RANK_SIZE": "1", "DEVICE_ID": "0"}
    assert worker.variables["OMP_NUM_THREADS"] == "8"
    assert not [name for name in worker.variables if name.startswith("MS_")]


@pytest.mark.parametrize("nproc", [2, 8])
def test_cluster_variables(nproc: int) -> None:
    scheduler, *workers = plan(nproc)
    assert scheduler.rank is None
    assert scheduler.command == tuple(SCHEDULER)
    assert scheduler.variables["MS_ROLE"] == "MS_SCHED"
    assert "RANK_ID" not in scheduler.variables
    assert [worker.rank for worker in workers] == list(range(nproc))
    for process in (scheduler, *workers):
        assert process.variables["MS_WORKER_NUM"] == str(nproc)
        assert process.variables["MS_SCHED_HOST"] == "10.0.0.1"
        assert process.variables["MS_SCHED_PORT"] == "23456"
    for rank, worker in enumerate(workers):
        variables = worker.variables
        assert worker.batch and variables["MS_ROLE"] == "MS_WORKER"
        assert variables["RANK_SIZE"] == str(nproc)
        for name in ("MS_NODE_ID", "RANK_ID", "DEVICE_ID"):
            assert variables[name] == str(rank)
        assert variables["OMP_NUM_THREADS"] == str(8 // nproc)
        assert int(variables["MS_CPU_COMM_OP_TIMEOUT"]) >= 600
        assert int(variables["HCCL_CONNECT_TIMEOUT"]) < int(variables["HCCL_EXEC_TIMEOUT"])
        assert worker.log_name == f"worker_{rank}.log"


def test_second_node_has_the_next_ranks_and_no_scheduler() -> None:
    workers = plan(2, node=Node(1, "there", 3, 2), world=World(5, MEETING))
    assert [(w.rank, w.node, w.host, w.log_name) for w in workers] == [
        (3, 1, "there", "worker_3.log"),
        (4, 1, "there", "worker_4.log"),
    ]
    for local, worker in enumerate(workers):
        assert worker.variables["MS_NODE_ID"] == worker.variables["RANK_ID"] == str(3 + local)
        assert worker.variables["DEVICE_ID"] == str(local)
        assert worker.variables["MS_WORKER_NUM"] == worker.variables["RANK_SIZE"] == "5"
        assert worker.cores == tuple(range(4 * local, 4 * local + 4))


def test_devices_of_a_rank_table() -> None:
    npus = Machine(npus=(0, 1, 4, 5), core_groups=(tuple(range(32)),))
    node = Node(1, "there", 8, 2, devices=(3, 2))
    workers = plan(2, npus, node=node, world=World(10, MEETING))
    assert [worker.rank for worker in workers] == [8, 9]
    assert [worker.variables["DEVICE_ID"] for worker in workers] == ["3", "2"]
    assert [worker.device for worker in workers] == ["npu 3", "npu 2"]


def test_launchers_of_one_rank_each_share_the_cores() -> None:
    npus = Machine(npus=(0, 1, 2), core_groups=(tuple(range(24)),))
    node = Node(1, "here", 1, 1, devices=(1,), before=(0,), after=(2,))
    (worker,) = plan(1, npus, node=node, world=World(3, MEETING))
    assert worker.cores == tuple(range(8, 16))
    assert worker.variables["OMP_NUM_THREADS"] == "8"


def test_cores_are_disjoint_where_there_are_enough() -> None:
    _, *workers = plan(3)
    assert [worker.cores for worker in workers] == [(0, 1), (2, 3), (4, 5)]


@pytest.mark.parametrize(
    ("nproc", "npus", "cores", "threads"),
    [
        pytest.param(3, (), 2, "1", id="more ranks than cores"),
        pytest.param(8, tuple(range(8)), 24, "3", id="too few to serve an NPU"),
    ],
)
def test_no_pinning(nproc: int, npus: tuple[int, ...], cores: int, threads: str) -> None:
    """The ranks share the cores nevertheless."""
    _, *workers = plan(nproc, Machine(npus, (tuple(range(cores)),)))
    assert {worker.cores for worker in workers} == {None}
    assert {worker.variables["OMP_NUM_THREADS"] for worker in workers} == {threads}


def test_npus_get_the_cores_of_one_numa_node_each() -> None:
    groups = tuple(tuple(range(48 * k, 48 * k + 48)) for k in range(4))
    _, *workers = plan(8, Machine(tuple(range(8)), groups))
    for rank, worker in enumerate(workers):
        assert worker.cores == tuple(range(24 * rank, 24 * rank + 24))
        assert worker.variables["OMP_NUM_THREADS"] == "24"


def test_value_of_the_user_wins() -> None:
    own = {"OMP_NUM_THREADS": "3", "HCCL_EXEC_TIMEOUT": "99", "MS_TOPO_TIMEOUT": ""}
    for process in plan(2, environment=own):
        assert not own.keys() & process.variables.keys()


def test_variables_of_an_outer_run_do_not_leak_in() -> None:
    stale = {"RANK_ID": "5", "RANK_SIZE": "64", "MS_ROLE": "MS_SCHED", "DEVICE_ID": "7"}
    _, first, _ = plan(2, environment=stale)
    assert {name: first.variables[name] for name in stale} == {
        "RANK_ID": "0",
        "RANK_SIZE": "2",
        "MS_ROLE": "MS_WORKER",
        "DEVICE_ID": "0",
    }


def test_user_chooses_the_device_of_a_single_rank() -> None:
    (worker,) = plan(1, environment={"DEVICE_ID": "3", "RANK_ID": "5"})
    assert "DEVICE_ID" not in worker.variables
    assert worker.variables["RANK_ID"] == "0"


def test_json_holds_everything() -> None:
    processes = plan(2)
    read = json.loads(to_json(processes, Path("logs")))["processes"]
    assert [entry["name"] for entry in read] == ["scheduler", "rank 0", "rank 1"]
    for entry, process in zip(read, processes, strict=True):
        assert entry["variables"] == process.variables
        assert (entry["host"], entry["rank"], entry["device"]) == ("here", process.rank, "cpu")
        assert entry["command"] == list(process.command)
        assert entry["cores"] == (None if process.cores is None else list(process.cores))
        assert entry["log"] == f"logs/{process.log_name}"


def test_text_holds_every_variable() -> None:
    text = to_text(plan(2), Path("logs"))
    for process in plan(2):
        for name, value in process.variables.items():
            assert f"  {name}={value}" in text.splitlines()


def test_secret_settings_are_not_shown() -> None:
    words = ["storage.secret_key=SECRET", "storage={token: SECRET}", "storage.cache=/c", "seed=1"]
    (worker,) = plan(1)
    worker = replace(worker, command=(*WORKER, *words))
    for text in (to_text([worker], Path("logs")), to_json([worker], Path("logs"))):
        assert "SECRET" not in text
        assert all(
            word in text for word in ("storage.secret_key=...", "storage.cache=/c", "seed=1")
        )


def test_launchers_of_one_rank_each_share_cores_that_are_not_dealt_out() -> None:
    """Too few to serve an NPU: no rank is bound, and none takes all of them for itself."""
    npus = Machine(npus=(0, 1, 2), core_groups=(tuple(range(6)),))
    node = Node(1, "here", 1, 1, devices=(1,), before=(0,), after=(2,))
    (worker,) = plan(1, npus, node=node, world=World(3, MEETING))
    assert worker.cores is None and worker.variables["OMP_NUM_THREADS"] == "2"

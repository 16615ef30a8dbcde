"""The plan: who runs where with which variables."""

from collections.abc import Mapping

import pytest

from launch.devices import Machine
from launch.plan import Process, make_plan

WORKER = ["python", "-m", "train", "config.yaml"]
SCHEDULER = ["python", "-m", "launch.scheduler"]
CPU8 = Machine(npus=0, cores=tuple(range(8)))


def plan(
    nproc: int, machine: Machine = CPU8, environment: Mapping[str, str] | None = None
) -> list[Process]:
    return make_plan(WORKER, SCHEDULER, nproc, 23456, machine, environment or {})


def test_one_rank_needs_no_scheduler() -> None:
    (worker,) = plan(1)
    assert (worker.rank, worker.command, worker.log_name) == (0, tuple(WORKER), "worker_0.log")
    assert worker.cores is None
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
        assert process.variables["MS_SCHED_HOST"] == "127.0.0.1"
        assert process.variables["MS_SCHED_PORT"] == "23456"
    for rank, worker in enumerate(workers):
        variables = worker.variables
        assert variables["MS_ROLE"] == "MS_WORKER"
        assert variables["RANK_SIZE"] == str(nproc)
        for name in ("MS_NODE_ID", "RANK_ID", "DEVICE_ID"):
            assert variables[name] == str(rank)
        assert variables["OMP_NUM_THREADS"] == str(8 // nproc)
        assert int(variables["MS_CPU_COMM_OP_TIMEOUT"]) >= 600
        assert int(variables["HCCL_CONNECT_TIMEOUT"]) < int(variables["HCCL_EXEC_TIMEOUT"])
        assert worker.log_name == f"worker_{rank}.log"


def test_cores_are_disjoint_where_there_are_enough() -> None:
    _, *workers = plan(3)
    assert [worker.cores for worker in workers] == [(0, 1), (2, 3), (4, 5)]


@pytest.mark.parametrize(
    ("nproc", "machine"),
    [
        pytest.param(3, Machine(npus=0, cores=(0, 1)), id="more ranks than cores"),
        pytest.param(2, Machine(npus=8, cores=tuple(range(8))), id="the NPUs do the computing"),
    ],
)
def test_no_pinning(nproc: int, machine: Machine) -> None:
    assert {worker.cores for worker in plan(nproc, machine)} == {None}


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

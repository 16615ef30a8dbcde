import os
import socket
import subprocess
import sys
import threading
import time

import pytest

from tests.paths import ROOT
from train.distributed.cluster import (
    Cluster,
    _num_threads,
    _wait_for_scheduler,
    identify,
    is_scheduler,
)
from train.errors import UserError

LAUNCHER = {"MS_ROLE": "MS_WORKER", "MS_WORKER_NUM": "8", "MS_NODE_ID": "3"}
RANK_BY_RANK = {"RANK_SIZE": "8", "RANK_ID": "3", "DEVICE_ID": "7"}
OPEN_MPI = {
    "OMPI_COMM_WORLD_RANK": "13",
    "OMPI_COMM_WORLD_SIZE": "16",
    "OMPI_COMM_WORLD_LOCAL_RANK": "5",
}
MPICH = {"PMI_RANK": "13", "PMI_SIZE": "16", "MPI_LOCALRANKID": "5"}
# What MindSpore copies when it is loaded under OpenMPI.
COPIED = {"RANK_ID": "13", "RANK_SIZE": "16", "DEVICE_ID": "5"}
ALONE = {"RANK_ID": "0", "RANK_SIZE": "1"}
SCHEDULED = {"MS_ROLE": "MS_WORKER", "MS_SCHED_HOST": "127.0.0.1"}


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, Cluster(0, 1, "CPU", 0)),
        ({"DEVICE_ID": "5"}, Cluster(0, 1, "CPU", 5)),
        (LAUNCHER, Cluster(3, 8, "CPU", 0)),
        ({**LAUNCHER, "RANK_SIZE": "8", "RANK_ID": "3", "DEVICE_ID": "3"}, Cluster(3, 8, "CPU", 3)),
        ({**RANK_BY_RANK, "MS_SIMULATION_LEVEL": "1"}, Cluster(3, 8, "CPU", 7)),
        (OPEN_MPI, Cluster(13, 16, "CPU", 5, under_mpirun=True)),
        (MPICH, Cluster(13, 16, "CPU", 5, under_mpirun=True)),
        ({**OPEN_MPI, **COPIED}, Cluster(13, 16, "CPU", 5, under_mpirun=True)),
        ({**OPEN_MPI, "DEVICE_ID": "0"}, Cluster(13, 16, "CPU", 5, under_mpirun=True)),
        # Somebody else's word counts for more than that of an mpirun further out.
        ({**OPEN_MPI, **LAUNCHER}, Cluster(3, 8, "CPU", 0)),
        ({**OPEN_MPI, **ALONE}, Cluster(0, 1, "CPU", 0)),
        ({**MPICH, **ALONE}, Cluster(0, 1, "CPU", 0)),
        # srun with Slurm's own PMI, which starts launchers.
        ({"PMI_RANK": "1", "PMI_SIZE": "2"}, Cluster(0, 1, "CPU", 0)),
    ],
)
def test_identify(environment: dict[str, str], expected: Cluster) -> None:
    assert identify(environment, "CPU") == expected


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"RANK_SIZE": "eight"}, "RANK_SIZE must be a whole number, not 'eight'"),
        ({"RANK_SIZE": "0"}, "at least 1"),
        ({"RANK_SIZE": "8"}, "neither RANK_ID nor MS_NODE_ID is set"),
        ({"RANK_SIZE": "8", "RANK_ID": "8"}, r"rank 8 is not in 0..7"),
        ({"DEVICE_ID": "-1"}, "DEVICE_ID must be a whole number"),
        ({**OPEN_MPI, "OMPI_COMM_WORLD_RANK": "16"}, r"rank 16 is not in 0..15"),
        (RANK_BY_RANK, "rank 3 of 8, but without MS_ROLE .* python -m launch in place of python"),
        ({**OPEN_MPI, **RANK_BY_RANK}, "rank 3 of 8, but without MS_ROLE"),
        ({**OPEN_MPI, "OMPI_COMM_WORLD_SIZE": ""}, "OMPI_COMM_WORLD_SIZE must be a whole number"),
    ],
)
def test_environment_that_does_not_fit(environment: dict[str, str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        identify(environment, "CPU")


@pytest.mark.parametrize(
    ("environment", "device", "engine"),
    [
        ({}, "CPU", "none"),
        ({**OPEN_MPI, "OMPI_COMM_WORLD_SIZE": "1", "OMPI_COMM_WORLD_RANK": "0"}, "CPU", "none"),
        (OPEN_MPI, "CPU", "mpi"),
        (OPEN_MPI, "Ascend", "mindspore"),
        (LAUNCHER, "CPU", "mindspore"),
        ({**OPEN_MPI, **LAUNCHER}, "CPU", "mindspore"),
    ],
)
def test_engine(environment: dict[str, str], device: str, engine: str) -> None:
    assert identify(environment, device).engine == engine


@pytest.mark.parametrize(("environment", "copied"), [({}, "13"), (ALONE, "0"), (LAUNCHER, "-")])
def test_mindspore_does_not_copy_the_place_of_an_outer_mpirun(
    environment: dict[str, str], copied: str
) -> None:
    """It does so when it is loaded."""
    program = (
        "from train.environment import prepare_for_mindspore as prepare; prepare(); "
        "import os, mindspore.communication; print(os.environ.get('RANK_ID', '-'))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "OMPI_COMMAND": "python", **OPEN_MPI, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    assert ended.stdout.strip() == copied


def test_mindspore_finds_no_rank_table() -> None:
    """With one it would not start, or compile whole graphs, or number the ranks anew."""
    names = ("RANK_TABLE_FILE", "MINDSPORE_HCCL_CONFIG_PATH")
    program = (
        "from train.environment import prepare_for_mindspore as prepare; prepare(); "
        f"import os; print([name for name in {names} if name in os.environ])"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={**os.environ, **dict.fromkeys(names, "hccl.json")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert ended.stdout.strip() == "[]"


def test_only_the_first_rank_under_mpirun_shows_progress() -> None:
    assert not Cluster(1, 2, "CPU", under_mpirun=True).shows_progress
    assert Cluster(0, 2, "CPU", under_mpirun=True).shows_progress
    assert Cluster(1, 2, "CPU").shows_progress  # into its own log


def test_threads_are_those_of_the_cores_or_fewer() -> None:
    cores = len(os.sched_getaffinity(0))
    for value, threads in (("1", 1), ("0", cores), ("", cores), ("x", cores), ("999999", cores)):
        assert _num_threads({"OMP_NUM_THREADS": value}) == threads


def test_the_scheduler_is_no_rank() -> None:
    assert is_scheduler({"MS_ROLE": "MS_SCHED"})
    assert not is_scheduler(LAUNCHER) and not is_scheduler({})


def test_a_rank_waits_until_the_scheduler_listens() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        port = str(server.getsockname()[1])
        listening = threading.Event()

        def listen_late() -> None:
            time.sleep(0.5)
            listening.set()
            server.listen()

        thread = threading.Thread(target=listen_late)
        thread.start()
        _wait_for_scheduler({**SCHEDULED, "MS_SCHED_PORT": port})
        assert listening.is_set()
        thread.join()


@pytest.mark.parametrize(
    "environment",
    [
        {},
        LAUNCHER,
        SCHEDULED,
        {**SCHEDULED, "MS_SCHED_PORT": "1", "MS_ROLE": "MS_SCHED"},
    ],
)
def test_no_scheduler_no_wait(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """No connection is tried, and no time passes."""
    tried: list[object] = []
    monkeypatch.setattr(socket, "create_connection", lambda address, timeout: tried.append(address))
    monkeypatch.setattr(time, "sleep", tried.append)
    _wait_for_scheduler(environment)
    assert tried == []

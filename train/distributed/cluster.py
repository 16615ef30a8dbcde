"""Rank, world size and device of this process, and joining and leaving the other ranks."""

import os
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import mindspore as ms
from mindspore import communication

from train.distributed import mpi_engine, mpirun
from train.environment import visible_npus, whole_number
from train.errors import UserError
from train.native import library as native
from train.preflight.limits import usable_cores

_SCHEDULER_SECONDS = 300

# Variables without which ranks that mpirun has not started cannot find each other. MindSpore's
# simulation of one rank (its dry run) has no others to find.
_BROUGHT_TOGETHER = ("MS_ROLE", "MS_SIMULATION_LEVEL")

Engine = Literal["none", "mindspore", "mpi"]


@dataclass(frozen=True)
class Cluster:
    """The place of this process in the job.

    Attributes:
        rank: 0..world_size-1.
        world_size: Number of ranks.
        device_target: "Ascend", "GPU" or "CPU".
        device_id: Number of the device among those this process can see.
        under_mpirun: Whether mpirun has assigned the rank. The ranks then share one output, and on
            CPU they are connected by MPI.
    """

    rank: int
    world_size: int
    device_target: str
    device_id: int = 0
    under_mpirun: bool = False

    @property
    def is_first(self) -> bool:
        """Whether this rank writes the run folder and talks to the terminal."""
        return self.rank == 0

    @property
    def shows_progress(self) -> bool:
        """Whether this rank prints what it does: each has its own log, except under mpirun."""
        return self.is_first or not self.under_mpirun

    @property
    def engine(self) -> Engine:
        """The engine that connects the ranks: MindSpore's, or MPI where that does not start."""
        if self.world_size == 1:
            return "none"
        return "mpi" if self.under_mpirun and self.device_target == "CPU" else "mindspore"


def identify(environment: Mapping[str, str], device: str = "auto") -> Cluster:
    """Read rank and world size from the variables of whatever has started this process.

    That is ``python -m launch``, msrun or mpirun.

    Raises:
        UserError: A variable is missing or is no number in its range, or nothing is there to bring
            the ranks together.
    """
    # As set by our launcher or msrun.
    ranks, sizes = ["RANK_ID", "MS_NODE_ID"], ["RANK_SIZE", "MS_WORKER_NUM"]
    devices = ["DEVICE_ID"]
    if found := mpirun.names(environment):
        ranks, sizes, devices = ([name] for name in found)
    world_size = _number(environment, sizes, default=1)
    if world_size < 1:
        raise UserError(f"environment: the world size must be at least 1, not {world_size}")
    rank = _number(environment, ranks, default=0 if world_size == 1 else None)
    if not 0 <= rank < world_size:
        raise UserError(f"environment: rank {rank} is not in 0..{world_size - 1}")
    device_id = _number(environment, devices, default=0)
    if world_size > 1 and not found and not any(map(environment.get, _BROUGHT_TOGETHER)):
        raise UserError(
            f"environment: this is rank {rank} of {world_size}, but without MS_ROLE the ranks do "
            "not find each other: start python -m launch in place of python -m train, as often, or "
            "unset RANK_SIZE and RANK_ID for a job of one rank"
        )
    return Cluster(rank, world_size, device_target(device), device_id, found is not None)


def device_target(device: str) -> str:
    """Return ``device``, or for "auto" Ascend where the machine has NPUs, otherwise CPU."""
    if device != "auto":
        return device
    return "Ascend" if visible_npus(os.environ) else "CPU"


def is_scheduler(environment: Mapping[str, str]) -> bool:
    """Return whether this process is the scheduler of a dynamic cluster, started by msrun."""
    return environment.get("MS_ROLE") == "MS_SCHED"


def start(cluster: Cluster) -> None:
    """Configure MindSpore for this process and join the other ranks.

    Blocks until all ranks are there. Must come before any tensor is made.
    """
    ms.set_context(mode=ms.GRAPH_MODE)
    try:
        if cluster.device_target == "CPU":
            ms.set_device("CPU")
        else:
            # Without a number MindSpore takes device 0 for one rank.
            ms.set_device(cluster.device_target, cluster.device_id)
    except (RuntimeError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(f"device: {cluster.device_target} cannot be used here: {reason}") from None
    if cluster.device_target == "CPU":
        # More threads than cores make the executor's threads wait for each other.
        threads = _num_threads(os.environ)
        ms.set_context(runtime_num_threads=threads)
        native.set_threads(threads)
    if cluster.engine == "mpi":
        mpi_engine.join(cluster.rank, cluster.world_size)
    elif cluster.engine == "mindspore":
        _wait_for_scheduler(os.environ)
        communication.init()


def _num_threads(environment: Mapping[str, str]) -> int:
    """Return the number of cores of this process, or OMP_NUM_THREADS where that is fewer."""
    cores = usable_cores()
    return min(cores, whole_number(environment, "OMP_NUM_THREADS") or cores)


def close(cluster: Cluster) -> None:
    """Leave the other ranks, at the end of a successful run; they must be at their end too.

    Under mpirun a rank that ends without this takes the job down.
    """
    if cluster.engine == "mpi":
        mpi_engine.close()


def run_scheduler() -> None:
    """Serve the ranks as scheduler of the dynamic cluster until they have left."""
    ms.set_context(mode=ms.GRAPH_MODE, device_target="CPU")
    communication.init()


def _wait_for_scheduler(environment: Mapping[str, str]) -> None:
    """Wait until the scheduler of a dynamic cluster listens, if there is one.

    A rank whose first attempt to register fails is held up by MindSpore for up to a minute. A
    scheduler that never comes is MindSpore's to report.
    """
    host, port = environment.get("MS_SCHED_HOST"), environment.get("MS_SCHED_PORT")
    if environment.get("MS_ROLE") != "MS_WORKER" or not host or not port:
        return
    deadline = time.monotonic() + _SCHEDULER_SECONDS
    while time.monotonic() < deadline:
        try:
            socket.create_connection((host, int(port)), timeout=1).close()
            return
        except OSError:
            time.sleep(0.1)


def _number(environment: Mapping[str, str], names: Sequence[str], default: int | None) -> int:
    for name in names:
        text = environment.get(name)
        if text is None:
            continue
        if not text.isdecimal():
            raise UserError(f"environment: {name} must be a whole number, not {text!r}")
        return int(text)
    if default is None:
        raise UserError(f"environment: neither {' nor '.join(names)} is set")
    return default

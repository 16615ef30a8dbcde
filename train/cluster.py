"""Who am I: rank, world size and device of this process, and joining the other ranks."""

import os
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import mindspore as ms
from mindspore import communication

from train.errors import UserError

_SCHEDULER_SECONDS = 300


@dataclass(frozen=True)
class Cluster:
    """Place of this process in the job.

    Attributes:
        rank: 0..world_size-1.
        world_size: Number of ranks.
        device_target: "Ascend", "GPU" or "CPU".
        device_id: Number of the device among those this process can see.
    """

    rank: int
    world_size: int
    device_target: str
    device_id: int = 0

    @property
    def is_first(self) -> bool:
        """Whether this rank writes the run folder and talks to the terminal."""
        return self.rank == 0


def identify(environment: Mapping[str, str], device: str = "auto") -> Cluster:
    """Reads rank and world size as ``python -m launch``, msrun or a rank table start sets them.

    Raises:
        UserError: A variable is missing or is no number in its range.
    """
    world_size = _number(environment, ("RANK_SIZE", "MS_WORKER_NUM"), default=1)
    if world_size < 1:
        raise UserError(f"environment: the world size must be at least 1, not {world_size}")
    default = 0 if world_size == 1 else None
    rank = _number(environment, ("RANK_ID", "MS_NODE_ID"), default)
    if not 0 <= rank < world_size:
        raise UserError(f"environment: rank {rank} is not in 0..{world_size - 1}")
    device_id = _number(environment, ("DEVICE_ID",), default=0)
    return Cluster(rank, world_size, device_target(device), device_id)


def device_target(device: str) -> str:
    """``device``, or for "auto" Ascend where the machine has NPUs, otherwise CPU."""
    if device != "auto":
        return device
    return "Ascend" if any(Path("/dev").glob("davinci[0-9]*")) else "CPU"


def is_scheduler(environment: Mapping[str, str]) -> bool:
    """Whether this process is the scheduler of a dynamic cluster (msrun starts it like a rank)."""
    return environment.get("MS_ROLE") == "MS_SCHED"


def start(cluster: Cluster) -> None:
    """Configures MindSpore for this process and joins the other ranks.

    Blocks until all ranks are there. Must come before any tensor is made.
    """
    ms.set_context(mode=ms.GRAPH_MODE)
    try:
        if cluster.device_target == "CPU":
            ms.set_device("CPU")
        else:
            # Without a number MindSpore takes device 0 for one rank, and with a rank table.
            ms.set_device(cluster.device_target, cluster.device_id)
    except (RuntimeError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(f"device: {cluster.device_target} cannot be used here: {reason}") from None
    if cluster.device_target == "CPU":
        # More threads than cores make the executor's threads wait for each other.
        ms.set_context(runtime_num_threads=len(os.sched_getaffinity(0)))
    if cluster.world_size > 1:
        _wait_for_scheduler(os.environ)
        communication.init()


def run_scheduler() -> None:
    """Serves the ranks as scheduler of the dynamic cluster until they have left."""
    ms.set_context(mode=ms.GRAPH_MODE, device_target="CPU")
    communication.init()


def _wait_for_scheduler(environment: Mapping[str, str]) -> None:
    """Waits until the scheduler of a dynamic cluster listens, if there is one.

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


def _number(environment: Mapping[str, str], names: tuple[str, ...], default: int | None) -> int:
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

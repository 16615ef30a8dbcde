"""Which part of the job this container, or this process of it, is."""

import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass

from train.environment import whole_number
from train.errors import UserError

# How long the platform may take to complete what it provides after the start: the rank table and
# the addresses of containers.
_PATIENCE = 1200


@dataclass(frozen=True)
class Node:
    """One start per node: the launcher starts the ranks.

    Attributes:
        number: Of this node, from 0.
        count: Of all nodes.
        nproc: Number of accelerators, None if the platform does not say.
        master: Host name of node 0, "" if there is one node.
    """

    number: int
    count: int
    nproc: int | None
    master: str


@dataclass(frozen=True)
class Card:
    """One start per card: this process is to become a rank.

    Attributes:
        rank: Of this card.
        size: Number of ranks.
        device: Number of the card among those of the node.
        rank_table: Path of the rank table, or of the folder that holds it; None where another
            program (msrun) brings the ranks together.
    """

    rank: int
    size: int
    device: int
    rank_table: str | None


def identify(environment: Mapping[str, str]) -> Node | Card:
    """Read the platform's variables.

    Raises:
        UserError: They contradict each other.
    """
    if environment.get("MS_ROLE"):
        # Started by msrun, which says everything else to the training program too. Its scheduler
        # must not be taken for rank 0.
        scheduler = environment["MS_ROLE"] == "MS_SCHED"
        rank = -1 if scheduler else _number(environment, "RANK_ID", "MS_NODE_ID")
        size = _number(environment, "RANK_SIZE", "MS_WORKER_NUM")
        return Card(rank, size, _number(environment, "DEVICE_ID", default=0), None)
    if environment.get("RANK_ID"):
        return _card(environment)
    count = _number(environment, "MA_NUM_HOSTS", default=1)
    number = _number(environment, "VC_TASK_INDEX", default=0)
    if count < 1 or number >= count:
        raise UserError(f"environment: VC_TASK_INDEX is {number}, but MA_NUM_HOSTS is {count}")
    nproc = _number(environment, "MA_NUM_GPUS", default=0) or None
    hosts = [host.strip() for host in environment.get("VC_WORKER_HOSTS", "").split(",")]
    if count > 1 and not hosts[0]:
        raise UserError(f"environment: MA_NUM_HOSTS is {count}, but VC_WORKER_HOSTS names no host")
    return Node(number, count, nproc, hosts[0] if count > 1 else "")


def _card(environment: Mapping[str, str]) -> Card:
    rank, size = _number(environment, "RANK_ID"), _number(environment, "RANK_SIZE")
    if rank >= size:
        raise UserError(f"environment: RANK_ID is {rank}, but RANK_SIZE is {size}")
    table = environment.get("RANK_TABLE_FILE")
    if size > 1 and not table:
        raise UserError(
            f"environment: RANK_ID is {rank} of {size} ranks, but RANK_TABLE_FILE is not set"
        )
    default = 0 if size == 1 else None
    device = _number(environment, "DEVICE_ID", "ASCEND_DEVICE_ID", default=default)
    return Card(rank, size, device, table if size > 1 else None)


def _number(environment: Mapping[str, str], *names: str, default: int | None = None) -> int:
    for name in names:
        if text := environment.get(name):
            if (number := whole_number(environment, name)) is None:
                raise UserError(f"environment: {name} must be a whole number, not {text!r}")
            return number
    if default is None:
        raise UserError(f"environment: {' or '.join(names)} must be set")
    return default


def patience(environment: Mapping[str, str]) -> int:
    """Return the seconds to wait for what the platform has not provided yet."""
    return _number(environment, "MTLN_PLATFORM_SECONDS", default=_PATIENCE)


def wait_for_host(host: str, seconds: float) -> None:
    """Wait until a host name is known: that of a container that starts later is not at first.

    Raises:
        UserError: It does not become known.
    """
    deadline = time.monotonic() + seconds
    waiting = False
    while True:
        try:
            socket.getaddrinfo(host, None)
            return
        except OSError as error:
            reason = error.strerror
        if time.monotonic() >= deadline:
            raise UserError(
                f"{host}, the first of VC_WORKER_HOSTS, has no address after {seconds:g} s "
                f"({reason}); has its container started? MTLN_PLATFORM_SECONDS is how long to wait"
            )
        if not waiting:
            print(f"waiting for an address of {host} ({reason})", flush=True)
            waiting = True
        time.sleep(min(1.0, max(0.0, deadline - time.monotonic())))

"""Which part of the job this container, or this process of it, is."""

import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass

from launch.foreign_starter import rank_in_table
from train.environment import rank_table, whole_number
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
    """One start per card: the launcher starts one rank, whose place is in the rank table.

    Attributes:
        rank: Of this card.
    """

    rank: int


@dataclass(frozen=True)
class Worker:
    """One start per card by msrun, which brings the ranks together: this process becomes one.

    Attributes:
        rank: Of this card; -1 for msrun's scheduler, which must not be taken for rank 0.
    """

    rank: int


def identify(environment: Mapping[str, str]) -> Node | Card | Worker:
    """Read the platform's variables.

    Raises:
        UserError: They contradict each other.
    """
    if environment.get("MS_ROLE"):
        scheduler = environment["MS_ROLE"] == "MS_SCHED"
        return Worker(-1 if scheduler else _number(environment, "RANK_ID", "MS_NODE_ID"))
    rank = rank_in_table(environment)
    if rank is not None:
        if not rank_table(environment):
            raise UserError(f"environment: RANK_ID is {rank}, but RANK_TABLE_FILE is not set")
        return Card(rank)
    count = _number(environment, "MA_NUM_HOSTS", default=1)
    number = _number(environment, "VC_TASK_INDEX", default=0)
    if count < 1 or number >= count:
        raise UserError(f"environment: VC_TASK_INDEX is {number}, but MA_NUM_HOSTS is {count}")
    nproc = _number(environment, "MA_NUM_GPUS", default=0) or None
    hosts = [host.strip() for host in environment.get("VC_WORKER_HOSTS", "").split(",")]
    if count > 1 and not hosts[0]:
        raise UserError(f"environment: MA_NUM_HOSTS is {count}, but VC_WORKER_HOSTS names no host")
    return Node(number, count, nproc, hosts[0] if count > 1 else "")


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

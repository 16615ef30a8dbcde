"""Which part of a job this launcher runs: which node of how many, its ranks and devices."""

import socket
from dataclasses import dataclass
from pathlib import Path

from launch import ports
from launch.devices import Machine
from rank_tables import RankTable, RankTableError, Server, load
from train.errors import UserError


@dataclass(frozen=True)
class Part:
    """This launcher's part.

    Attributes:
        nnodes: number of nodes of the job.
        node: number of this one.
        nproc: ranks on this node.
        master: host of node 0 where there are several nodes.
        table: the rank table to start from, None for a dynamic cluster.
        devices: with a table, the device of every rank here as its process counts them.
    """

    nnodes: int
    node: int
    nproc: int
    master: str | None = None
    table: RankTable | None = None
    devices: tuple[int, ...] | None = None


def read_table(path: Path) -> RankTable:
    """Reads and checks a rank table.

    Raises:
        UserError: it is not right, with everything that is wrong.
    """
    try:
        return load(path)
    except RankTableError as error:
        raise UserError(str(error)) from None


def without_table(
    nnodes: int, node: int, nproc: int | None, master: str | None, machine: Machine
) -> Part:
    """Returns the part of a launcher that uses all devices of its machine, or ``nproc``.

    Raises:
        UserError: the machine cannot run it.
    """
    nproc = machine.default_world_size if nproc is None else nproc
    if machine.npus and nproc > len(machine.npus):
        raise UserError(f"nproc is {nproc}, but this machine has {len(machine.npus)} NPUs")
    return Part(nnodes, node, nproc, master)


def with_table(
    table: RankTable,
    nnodes: int | None,
    node: int | None,
    nproc: int | None,
    master: str | None,
    machine: Machine,
) -> Part:
    """Returns the part that a rank table gives to this machine.

    Raises:
        UserError: the table contradicts what is asked for, or what the machine has.
    """
    servers = table.servers
    if nnodes is not None and nnodes != len(servers):
        raise UserError(f"{table.source}: has {len(servers)} servers, but --nnodes is {nnodes}")
    node = _find(table) if node is None else node
    if node >= len(servers):
        raise UserError(f"{table.source}: has {len(servers)} servers, but --node-rank is {node}")
    server = servers[node]
    if nproc is not None and nproc != len(server.devices):
        raise UserError(
            f"{table.source}: server {server.server_id} has {len(server.devices)} devices, "
            f"but nproc is {nproc}"
        )
    return Part(
        nnodes=len(servers),
        node=node,
        nproc=len(server.devices),
        master=master or servers[0].server_id,
        table=table,
        devices=_devices(table, server, machine),
    )


def _find(table: RankTable) -> int:
    """Returns the number of the server in a table that is this machine."""
    if len(table.servers) == 1:
        return 0
    names = {socket.gethostname(), socket.getfqdn()}
    for number, server in enumerate(table.servers):
        if server.server_id in names or ports.is_own_address(server.server_id):
            return number
    known = ", ".join(server.server_id for server in table.servers)
    raise UserError(
        f"{table.source}: no server_id is an address or the name of this machine "
        f"({socket.gethostname()}); give --node-rank, or mend the table (it has {known})"
    )


def _devices(table: RankTable, server: Server, machine: Machine) -> tuple[int, ...]:
    """Translates the physical numbers of a table into those that a process uses."""
    if not machine.npus:  # a plan for another machine
        return tuple(range(len(server.devices)))
    missing = [str(d.device_id) for d in server.devices if d.device_id not in machine.npus]
    if missing:
        seen = ", ".join(map(str, machine.npus))
        raise UserError(
            f"{table.source}: server {server.server_id}: device_id {', '.join(missing)} is not "
            f"among the NPUs that can be seen here ({seen})"
        )
    return tuple(machine.npus.index(device.device_id) for device in server.devices)

"""Which node of a job this machine is, with which ranks and devices."""

import socket
from dataclasses import dataclass

from launch.job import Job
from launch.plan import ports
from launch.plan.machine import Machine
from launch.plan.processes import Node
from rank_tables import RankTable, Server, load
from train.errors import UserError


@dataclass(frozen=True)
class Placement:
    """This launcher's place in a job.

    Attributes:
        job: What is to run.
        machine: What this machine has.
        nnodes: Number of nodes of the job.
        node: Number of this one.
        nproc: Ranks on this node.
        master: Host of node 0 where there are several nodes.
        table: The rank table to start from, None for a dynamic cluster.
        devices: With a table, the device of every rank here as its process counts them.
    """

    job: Job
    machine: Machine
    nnodes: int
    node: int
    nproc: int
    master: str | None = None
    table: RankTable | None = None
    devices: tuple[int, ...] | None = None

    def this_node(self, first_rank: int) -> Node:
        """Return what the plan needs to know of this node."""
        return Node(self.node, socket.gethostname(), first_rank, self.nproc, self.devices)


def placement_of(job: Job, machine: Machine) -> Placement:
    """Return the place of this machine in a job.

    Raises:
        UserError: What is asked for does not fit the machine, or the rank table is not right.
    """
    if job.rank_table is not None:
        return _from_table(load(job.rank_table), job, machine)
    nproc = machine.default_world_size if job.nproc is None else job.nproc
    if machine.npus and nproc > len(machine.npus):
        raise UserError(f"nproc is {nproc}, but this machine has {len(machine.npus)} NPUs")
    return Placement(job, machine, job.nnodes or 1, job.node_rank or 0, nproc, job.master)


def _from_table(table: RankTable, job: Job, machine: Machine) -> Placement:
    servers = table.servers
    if job.nnodes is not None and job.nnodes != len(servers):
        raise UserError(f"{table.source}: has {len(servers)} servers, but --nnodes is {job.nnodes}")
    node = _find(table) if job.node_rank is None else job.node_rank
    if node >= len(servers):
        raise UserError(f"{table.source}: has {len(servers)} servers, but --node-rank is {node}")
    server = servers[node]
    if job.nproc is not None and job.nproc != len(server.devices):
        raise UserError(
            f"{table.source}: server {server.server_id} has {len(server.devices)} devices, "
            f"but nproc is {job.nproc}"
        )
    return Placement(
        job,
        machine,
        nnodes=len(servers),
        node=node,
        nproc=len(server.devices),
        master=job.master or servers[0].server_id,
        table=table,
        devices=_devices(table, server, machine),
    )


def _find(table: RankTable) -> int:
    """Return the number of the server in a table that is this machine."""
    if len(table.servers) == 1:
        return 0
    names = {socket.gethostname(), socket.getfqdn()}
    for number, server in enumerate(table.servers):
        if server.server_id in names or ports.is_own_address(server.server_id):
            return number
    known = ", ".join(server.server_id for server in table.servers)
    raise UserError(
        f"{table.source}: no server_id is an address or the name of this machine "
        f"({socket.gethostname()}); give --node-rank, or correct the table (it has {known})"
    )


def _devices(table: RankTable, server: Server, machine: Machine) -> tuple[int, ...]:
    """Translate the physical numbers of a table into those that a process uses."""
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

"""Which node of a job this machine is, with which ranks and devices."""

import os
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from launch.job import Job
from launch.plan import ports
from launch.plan.machine import Machine
from launch.plan.processes import Node
from rank_tables import Device, RankTable, Server, load
from train.errors import UserError


@dataclass(frozen=True)
class Placement:
    """This launcher's place in a job.

    Attributes:
        job: What is to run.
        machine: What this machine has.
        nnodes: Number of nodes of the job: of its launchers.
        node: Number of this one.
        nproc: Ranks on this node.
        master: Host of node 0 where there are several nodes.
        nodes: All nodes, where a rank table says who is where.
        first_device: Physical number of rank 0's device in the table.
    """

    job: Job
    machine: Machine
    nnodes: int
    node: int
    nproc: int
    master: str | None = None
    nodes: tuple[Node, ...] = ()
    first_device: int = 0

    @property
    def meeting_port(self) -> int:
        """The port of node 0 where the launchers meet, the same on all nodes.

        Jobs without a name that share node 0 differ in the device of their rank 0, if a rank table
        says which that is.
        """
        return self.job.control_port or ports.of_job(os.environ, self.first_device)

    def this_node(self, first_rank: int) -> Node:
        """Return what the plan needs to know of this node."""
        if self.nodes:
            return replace(self.nodes[self.node], host=socket.gethostname())
        return Node(self.node, socket.gethostname(), first_rank, self.nproc)


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
    nodes = _nodes(table, machine)
    if job.rank is None:
        number = _number_of_server(table, job)
        server = table.servers[number]
        if job.nproc is not None and job.nproc != len(server.devices):
            raise UserError(
                f"{table.source}: server {server.server_id} has {len(server.devices)} devices, "
                f"but nproc is {job.nproc} (for a job without this table unset RANK_TABLE_FILE)"
            )
        own = server.devices
    else:
        nodes = tuple(part for node in nodes for part in _ranks_of(node))
        number = _checked_rank(table, job, job.rank)
        own = table.devices[number : number + 1]
    if len(nodes) > 1 and table.version == "2.0" and job.master is None:
        raise UserError(f"{table.source}: version 2.0 names no hosts: give --master, rank 0's")
    _require(own, table, machine)
    master = job.master or nodes[0].host
    first_device = table.devices[0].device_id
    return Placement(job, machine, len(nodes), number, len(own), master, nodes, first_device)


def _nodes(table: RankTable, machine: Machine) -> tuple[Node, ...]:
    """Return a node for every server; each has the NPUs that this machine has."""
    nodes, first = [], 0
    for number, server in enumerate(table.servers):
        devices = _numbers(server, machine)
        nodes.append(Node(number, server.server_id, first, len(devices), devices))
        first += len(devices)
    return tuple(nodes)


def _numbers(server: Server, machine: Machine) -> tuple[int, ...]:
    """Translate the physical numbers of a table into those that a process uses."""
    numbers = [device.device_id for device in server.devices]
    npus = {number: index for index, number in enumerate(machine.npus)}
    # What is not here is on another machine.
    return tuple(npus.get(number, index) for index, number in enumerate(numbers))


def _ranks_of(node: Node) -> Iterator[Node]:
    """Split a node where every rank has a launcher, which then counts as a node of its own."""
    devices = node.devices or ()
    for local, device in enumerate(devices):
        rank = node.first_rank + local
        yield Node(rank, node.host, rank, 1, (device,), devices[:local], devices[local + 1 :])


def _number_of_server(table: RankTable, job: Job) -> int:
    count = len(table.servers)
    if job.nnodes is not None and job.nnodes != count:
        raise UserError(f"{table.source}: has {count} servers, but --nnodes is {job.nnodes}")
    node = _find(table) if job.node_rank is None else job.node_rank
    if node >= count:
        raise UserError(f"{table.source}: has {count} servers, but --node-rank is {node}")
    return node


def _checked_rank(table: RankTable, job: Job, rank: int) -> int:
    count = len(table.devices)
    size = os.environ.get("RANK_SIZE")
    if size and size != str(count):
        raise UserError(f"{table.source}: has {count} ranks, but RANK_SIZE is {size}")
    if rank >= count:
        raise UserError(f"{table.source}: has {count} ranks, but RANK_ID is {rank}")
    if (job.nproc, job.nnodes, job.node_rank) != (None, None, None):
        raise UserError(
            f"RANK_ID is {rank}, so that rank of {table.source} is started here, and no other: "
            "leave out nproc, --nnodes and --node-rank, or unset RANK_ID to start all of a node"
        )
    return rank


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


def _require(devices: Sequence[Device], table: RankTable, machine: Machine) -> None:
    missing = [str(d.device_id) for d in devices if d.device_id not in machine.npus]
    if machine.npus and missing:  # without any, this is a plan for another machine
        seen = ", ".join(map(str, machine.npus))
        server = next(s.server_id for s in table.servers if devices[0] in s.devices)
        raise UserError(
            f"{table.source}: server {server}: device_id {', '.join(missing)} is not "
            f"among the NPUs that can be seen here ({seen})"
        )

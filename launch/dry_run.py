"""The plan of a job, printed: who would run where, as text for people or JSON for programs."""

import json
import os
import shlex
import socket
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from launch.job import Job
from launch.log_folders import log_folder, next_attempt
from launch.plan import ports
from launch.plan.machine import Machine, this_machine
from launch.plan.placement import Placement, placement_of
from launch.plan.processes import Node, Process, World, make_plan
from train.storage.secrets import shown_words


def print_plan(job: Job, as_json: bool, notes: Sequence[str] = ()) -> None:
    """Print who would run where with which variables; start and create nothing.

    Args:
        job: The job.
        as_json: Whether programs are to read it.
        notes: What is to be said below the plan, to people.

    Raises:
        UserError: This machine cannot run its part.
    """
    log_dir = log_folder(job.run_dir, next_attempt(job.run_dir))
    show = to_json if as_json else to_text
    machine = this_machine()
    print(show(plan_job(job, machine), log_dir))
    told = [*notes, *filter(None, [machine.note, machine.quota_note])]
    if told and not as_json:
        print("", *(f"note: {note}" for note in told), sep="\n")


def plan_job(job: Job, machine: Machine) -> Iterator[Process]:
    """Plan the processes of all nodes, the other machines taken to be like this one.

    Raises:
        UserError: This machine cannot run its part.
    """
    own = placement_of(job, machine)
    nodes = own.nodes or _nodes_like(own)
    world = _planned_world(job, own, sum(node.nproc for node in nodes))
    for node in nodes:
        yield from make_plan(job, node, world, machine, os.environ)


def _nodes_like(own: Placement) -> tuple[Node, ...]:
    hosts = [own.master or socket.gethostname()]
    hosts += [f"node {number}" for number in range(1, own.nnodes)]
    return tuple(Node(n, host, n * own.nproc, own.nproc) for n, host in enumerate(hosts))


def _planned_world(job: Job, own: Placement, size: int) -> World:
    if size == 1 or not job.together:
        return World(size)
    if own.nnodes == 1:
        return World(size, ports.scheduler_address(job, os.environ))
    port = ports.wanted(job, os.environ) or "(a free one of node 0)"
    return World(size, (own.master or "", str(port)))


def to_text(plan: Iterable[Process], log_dir: Path) -> str:
    """Return a block of lines for every process."""
    blocks = []
    for process in plan:
        cores = "any" if process.cores is None else ",".join(map(str, process.cores))
        lines = [
            process.name,
            f"  host     {process.host}",
            f"  device   {process.device}",
            f"  cores    {cores}",
            f"  log      {log_dir / process.log_name}",
            *(f"  {name}={shlex.quote(value)}" for name, value in process.variables.items()),
            f"  command  {shlex.join(shown_words(process.command))}",
        ]
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def to_json(plan: Iterable[Process], log_dir: Path) -> str:
    """Return {"processes": [...]}, an object for every process, a line each."""
    first = "name", "node", "host", "rank", "device", "cores"
    lines = []
    for process in plan:
        values = {name: getattr(process, name) for name in first}
        values["log"] = str(log_dir / process.log_name)
        values |= {"variables": process.variables, "command": shown_words(process.command)}
        lines.append(json.dumps(values))
    return '{"processes": [\n' + ",\n".join(lines) + "\n]}"

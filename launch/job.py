"""A job from its description to its exit code."""

import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

from launch import leader, member, part, ports, render
from launch.attempt import local_plan, log_folder, next_attempt, node_of
from launch.description import Job
from launch.devices import Machine, this_machine
from launch.part import Part
from launch.plan import Process, World
from launch.signals import Signals
from train.errors import UserError

_SHOW_CURSOR = "\x1b[?25h"


def run_job(job: Job) -> int:
    """Runs this node's share of a job and returns the exit code of the launcher.

    Raises:
        UserError: it cannot be started.
    """
    machine = this_machine()
    with Signals() as signals:
        own = part_of(job, machine)
        if own.table and not machine.npus:
            raise UserError(f"{own.table.source}: a rank table is for NPUs, and there is none here")
        run = leader.lead if own.node == 0 else member.follow
        code = run(job, own, machine, signals)
    if code and sys.stdout.isatty():
        # Killed while it drew its progress, rank 0 leaves the cursor hidden.
        print(_SHOW_CURSOR, end="", flush=True)
    return code


def part_of(job: Job, machine: Machine) -> Part:
    """Returns this node's part of a job.

    Raises:
        UserError: what is asked for does not fit the machine or the rank table.
    """
    if job.rank_table is not None:
        table = part.read_table(job.rank_table)
        return part.with_table(table, job.nnodes, job.node_rank, job.nproc, job.master, machine)
    nodes = job.nnodes or 1
    return part.without_table(nodes, job.node_rank or 0, job.nproc, job.master, machine)


def print_plan(job: Job, as_json: bool) -> int:
    """Prints who would run where with which variables; starts and creates nothing."""
    log_dir = log_folder(job.run_dir, next_attempt(job.run_dir))
    show = render.as_json if as_json else render.as_text
    print(show(plan_job(job, this_machine()), log_dir))
    return 0


def plan_job(job: Job, machine: Machine) -> Iterator[Process]:
    """Plans the processes of all nodes, the other machines taken to be like this one.

    Raises:
        UserError: this machine cannot run its part.
    """
    own = part_of(job, machine)
    ranks = [own.nproc] * own.nnodes
    hosts = [own.master or socket.gethostname()]
    hosts += [f"node {number}" for number in range(1, own.nnodes)]
    if own.table:
        ranks = [len(server.devices) for server in own.table.servers]
        hosts = [server.server_id for server in own.table.servers]
    world = _planned_world(job, own, sum(ranks))
    return (
        process
        for number, (host, nproc) in enumerate(zip(hosts, ranks, strict=True))
        for process in local_plan(
            job, node_of(own, number, host, sum(ranks[:number]), nproc), world, machine
        )
    )


def _planned_world(job: Job, own: Part, size: int) -> World:
    if own.table:
        path = "the table, converted" if own.table.converted else own.table.source.resolve()
        return World(size, rank_table=Path(path))
    if size == 1:
        return World(size)
    if own.nnodes == 1:
        host = os.environ.get("MS_SCHED_HOST") or leader.LOOPBACK
        return World(size, (host, str(ports.choose(host, leader.wanted_port(job)))))
    port = leader.wanted_port(job)
    return World(size, (own.master or "", str(port or "(a free one of node 0)")))

"""A job from its description to its exit code."""

import sys

from launch.job import Job
from launch.nodes.leader import lead
from launch.nodes.member import follow
from launch.plan.machine import this_machine
from launch.plan.placement import placement_of
from launch.supervisor.child_process import Signals
from train.errors import UserError

_SHOW_CURSOR = "\x1b[?25h"


def run_job(job: Job) -> int:
    """Run this node's share of a job and return the exit code of the launcher.

    Raises:
        UserError: It cannot be started.
    """
    machine = this_machine()
    with Signals() as signals:
        placement = placement_of(job, machine)
        if job.rank_table and not machine.npus:
            raise UserError(f"{job.rank_table}: a rank table is for NPUs, and there is none here")
        run = lead if placement.node == 0 else follow
        code = run(placement, signals)
    if code and sys.stdout.isatty():
        # Killed while it drew its progress, rank 0 leaves the cursor hidden.
        print(_SHOW_CURSOR, end="", flush=True)
    return code

"""OpenMPI's mpirun for a job: its command line and environment, and how it is run and stopped."""

import os
import shlex
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from launch.job import Job
from launch.plan.machine import Machine
from launch.supervisor.child_process import Signals, shell_code, start_program, wait_for
from train.environment import hide_rank_table
from train.errors import UserError
from train.process.signals import SAVE

# They would make a rank believe that it belongs to another cluster.
_OTHER_CLUSTER = (
    *("MS_ROLE", "MS_NODE_ID", "MS_WORKER_NUM", "MS_SCHED_HOST", "MS_SCHED_PORT"),
    *("RANK_ID", "RANK_SIZE"),
)
_DEFAULTS = {
    "PYTHONUNBUFFERED": "1",
    # The ranks share the terminal: errors only.
    "GLOG_v": "3",
    # A rank that waits for the others leaves its core to the threads that load its images.
    "OMPI_MCA_mpi_yield_when_idle": "1",
}
# What ranks on other hosts have to know; mpirun hands on nothing but its own by itself.
_HANDED_ON = ("ASCEND", "GLOG_", "HCCL_", "MS_", "MTLN_", "OMP_", "ONEDNN_", "PYTHON")
_PATHS = ("LD_LIBRARY_PATH", "PATH")

# mpirun acts on TERM itself: it leaves the ranks one second. This one it hands to them.
STOP = signal.SIGUSR2
# Others than these two it cannot hand on.
_REQUESTS = (SAVE,)
# Between TERM to mpirun and KILL: mpirun needs two for its own way of ending the ranks.
_SECONDS_FOR_MPIRUN = 10.0


class Start(NamedTuple):
    """What is to be started: mpirun with all its arguments, and its environment."""

    command: tuple[str, ...]
    environment: Mapping[str, str]


def plan(job: Job, log_dir: Path, machine: Machine, environment: Mapping[str, str]) -> Start:
    """Plan a job.

    Args:
        job: What every rank runs, and the number of ranks, None for one per device.
        log_dir: Where mpirun keeps what the ranks print.
        machine: This machine.
        environment: This process's.

    Raises:
        UserError: MPIRUN_OPTIONS cannot be read, or the machine has too few NPUs.
    """
    ranks = machine.default_world_size if job.nproc is None else job.nproc
    text = environment.get("MPIRUN_OPTIONS", "")
    try:
        users = shlex.split(text)
    except ValueError as error:
        raise UserError(f"the variable MPIRUN_OPTIONS is {text!r}: {error}") from None
    variables = {
        **_DEFAULTS,
        **{name: value for name, value in environment.items() if name not in _OTHER_CLUSTER},
    }
    hide_rank_table(variables)
    if os.geteuid() == 0:
        variables |= {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    if users:
        options = [*users, *_exports(variables)]
    else:
        each = max(1, machine.num_cores // ranks)
        variables.setdefault("OMP_NUM_THREADS", str(each))
        options = _placement(ranks, each, machine)
    command = (
        "mpirun",
        "-n",
        str(ranks),
        "--output-filename",
        str(log_dir),
        *options,
        *job.worker_command,
    )
    return Start(command, variables)


def _placement(ranks: int, each: int, machine: Machine) -> list[str]:
    """Return options that give every rank cores of its own where there are enough."""
    if machine.npus and ranks > len(machine.npus):
        raise UserError(
            f"nproc is {ranks}, but this machine has {len(machine.npus)} NPUs (for other hosts "
            "use the variable MPIRUN_OPTIONS)"
        )
    # Its reports of how the job has ended would hide the one line that says why.
    quiet = ["--quiet"]
    crowded = ranks > machine.num_cores
    if crowded or machine.npus or machine.num_cores < (os.cpu_count() or 1):
        # mpirun would count on all cores, also where this process may not use them all.
        return [*quiet, "--oversubscribe", "--bind-to", "none"]
    place = ["--use-hwthread-cpus", "--map-by", f"slot:PE={each}", "--bind-to", "hwthread"]
    return [*quiet, *place]


def _exports(variables: Mapping[str, str]) -> list[str]:
    names = sorted(n for n in variables if n in _PATHS or n.startswith(_HANDED_ON))
    return [word for name in names for word in ("-x", name)]


def run(start: Start, grace: float, signals: Signals) -> int:
    """Run mpirun to its end and return the exit code.

    TERM, INT, HUP and USR2 are handed to the ranks, which save a checkpoint and end; after the time
    of grace, or a second signal, mpirun ends them. USR1 is handed to them too, and they go on.
    """
    # By TERM mpirun ends its ranks.
    mpirun = start_program(start.command, start.environment, dies_by=signal.SIGTERM)
    received = wait_for(mpirun, signals, handed_on=_REQUESTS)
    if received is None:
        return shell_code(mpirun.wait())
    mpirun.send_signal(STOP)
    wait_for(mpirun, signals, grace, _REQUESTS)
    mpirun.terminate()  # does nothing to one that has ended
    wait_for(mpirun, signals, _SECONDS_FOR_MPIRUN)
    mpirun.kill()
    mpirun.wait()
    return 128 + received

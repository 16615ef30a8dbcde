"""The command line of OpenMPI's mpirun for a job, and its environment."""

import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from launch.devices import Machine
from train.errors import UserError

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


@dataclass(frozen=True)
class Start:
    """What is to be started.

    Attributes:
        command: mpirun with all its arguments.
        environment: its environment.
    """

    command: tuple[str, ...]
    environment: Mapping[str, str]


def plan(
    worker: Sequence[str],
    nproc: int | None,
    log_dir: Path,
    machine: Machine,
    environment: Mapping[str, str],
) -> Start:
    """Plans a job.

    Args:
        worker: what every rank runs.
        nproc: number of ranks, None for one per device of this machine.
        log_dir: where mpirun keeps what the ranks print.
        machine: this machine.
        environment: this process's.

    Raises:
        UserError: MPIRUN_OPTIONS cannot be read, or the machine has too few NPUs.
    """
    ranks = machine.default_world_size if nproc is None else nproc
    users = _users_options(environment)
    variables = {
        **_DEFAULTS,
        **{name: value for name, value in environment.items() if name not in _OTHER_CLUSTER},
    }
    if os.geteuid() == 0:
        variables |= {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    if users:
        options = [*users, *_exports(variables)]
    else:
        each = max(1, machine.num_cores // ranks)
        variables.setdefault("OMP_NUM_THREADS", str(each))
        options = _placement(ranks, each, machine)
    command = ("mpirun", "-n", str(ranks), "--output-filename", str(log_dir), *options, *worker)
    return Start(command, variables)


def _users_options(environment: Mapping[str, str]) -> list[str]:
    text = environment.get("MPIRUN_OPTIONS", "")
    try:
        return shlex.split(text)
    except ValueError as error:
        raise UserError(f"the variable MPIRUN_OPTIONS is {text!r}: {error}") from None


def _placement(ranks: int, each: int, machine: Machine) -> list[str]:
    """Returns options that give every rank cores of its own where there are enough.

    Raises:
        UserError: there are more ranks than NPUs.
    """
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

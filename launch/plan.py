"""Who runs where, with which variables: a pure function, so that it can be printed and tested."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from launch.devices import Machine

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class Process:
    """One process of a job.

    Attributes:
        rank: its rank, None for the scheduler.
        command: what it runs.
        variables: what its environment has on top of the launcher's.
        cores: the cores it is pinned to, None to leave it where the launcher may run.
        batch: whether the kernel shall schedule it as a batch process.
        log_name: file name of its log in the attempt's folder.
    """

    rank: int | None
    command: tuple[str, ...]
    variables: Mapping[str, str]
    cores: tuple[int, ...] | None
    batch: bool
    log_name: str

    @property
    def name(self) -> str:
        """How messages call it."""
        return "scheduler" if self.rank is None else f"rank {self.rank}"


def make_plan(
    worker_command: Sequence[str],
    scheduler_command: Sequence[str],
    nproc: int,
    port: int,
    machine: Machine,
    environment: Mapping[str, str],
) -> list[Process]:
    """Plans the processes of a job, in the order in which they are to start.

    Args:
        worker_command: what every rank runs.
        scheduler_command: what the scheduler runs, where there is more than one rank.
        nproc: number of ranks.
        port: port of the scheduler, unused with one rank.
        machine: what there is to distribute.
        environment: the launcher's own environment: a variable that is only a default is left
            out of the plan when the user has set it.
    """
    defaults = _defaults(nproc, machine)
    cores = _share_cores(nproc, machine)
    if nproc == 1:
        return [_worker(worker_command, 0, {**_identity(0, 1), **defaults}, None, environment)]
    cluster = {
        "MS_WORKER_NUM": str(nproc),
        "MS_SCHED_HOST": scheduler_host(environment),
        "MS_SCHED_PORT": str(port),
    }
    plan = [_scheduler(scheduler_command, {**cluster, **defaults}, environment)]
    for rank in range(nproc):
        variables = {
            "MS_ROLE": "MS_WORKER",
            "MS_NODE_ID": str(rank),
            **cluster,
            **_identity(rank, nproc),
            **defaults,
        }
        plan.append(_worker(worker_command, rank, variables, cores[rank], environment))
    return plan


def scheduler_host(environment: Mapping[str, str]) -> str:
    """Returns the address at which the scheduler listens."""
    return environment.get("MS_SCHED_HOST") or LOOPBACK


def _identity(rank: int, world_size: int) -> dict[str, str]:
    return {"RANK_ID": str(rank), "RANK_SIZE": str(world_size), "DEVICE_ID": str(rank)}


def _defaults(nproc: int, machine: Machine) -> dict[str, str]:
    """Returns the variables for which a value of the user's wins."""
    common = {
        "PYTHONUNBUFFERED": "1",
        "GLOG_v": "2",
        "OMP_NUM_THREADS": str(max(1, len(machine.cores) // nproc)),
    }
    if nproc == 1:
        return common
    return {
        **common,
        # How long the scheduler goes without a sign of life of a rank. The supervisor sees a
        # death at once, so this only has to spare a rank that is starved for a while.
        "MS_NODE_TIMEOUT": "300",
        # How long the ranks wait for each other at the start.
        "MS_TOPO_TIMEOUT": "600",
        # Seconds between looks at whether the others are there (MindSpore's own: 3 to 5).
        "MS_RETRY_INTERVAL_LOWER": "1",
        "MS_RETRY_INTERVAL_UPPER": "1",
        # On CPU: how long a rank waits in a collective, 30 s if unset. Evaluating or compiling
        # may keep one rank longer than that.
        "MS_CPU_COMM_OP_TIMEOUT": "600",
        # On Ascend: for the links to come up, and for a peer to come to a collective. 120 s
        # for the first is too short when graphs take different times to compile.
        "HCCL_CONNECT_TIMEOUT": "1200",
        "HCCL_EXEC_TIMEOUT": "1800",
        # Older CANN wants a list of allowed hosts otherwise.
        "HCCL_WHITELIST_DISABLE": "1",
    }


# Set by the job's layout alone: a value that is there already belongs to something else, for
# instance to the shell of an earlier run. DEVICE_ID is the user's choice when there is one rank.
_LAYOUT = {
    "MS_ROLE",
    "MS_NODE_ID",
    "MS_WORKER_NUM",
    "MS_SCHED_HOST",
    "MS_SCHED_PORT",
    "RANK_ID",
    "RANK_SIZE",
}


def _without_users_own(
    variables: Mapping[str, str], environment: Mapping[str, str], single: bool
) -> dict[str, str]:
    forced = _LAYOUT if single else _LAYOUT | {"DEVICE_ID"}
    return {k: v for k, v in variables.items() if k in forced or k not in environment}


def _scheduler(
    command: Sequence[str], variables: Mapping[str, str], environment: Mapping[str, str]
) -> Process:
    # The scheduler moves no data, so it gets no cores of its own.
    return Process(
        rank=None,
        command=tuple(command),
        variables=_without_users_own({"MS_ROLE": "MS_SCHED", **variables}, environment, False),
        cores=None,
        batch=False,
        log_name="scheduler.log",
    )


def _worker(
    command: Sequence[str],
    rank: int,
    variables: Mapping[str, str],
    cores: tuple[int, ...] | None,
    environment: Mapping[str, str],
) -> Process:
    single = "MS_ROLE" not in variables
    return Process(
        rank=rank,
        command=tuple(command),
        variables=_without_users_own(variables, environment, single),
        cores=cores,
        # When a worker of MindSpore 2.10 registers with the scheduler, its receiving thread
        # must not run before its main thread has noted that it is connecting: otherwise the
        # try is lost, and with bad luck so are a hundred more, a minute's worth. Batch
        # processes do not preempt each other on waking up, which makes a lost try rare.
        batch=not single,
        log_name=f"worker_{rank}.log",
    )


def _share_cores(nproc: int, machine: Machine) -> list[tuple[int, ...] | None]:
    """Gives every rank its own cores, if there are enough and the cores do the computing."""
    each = len(machine.cores) // nproc
    if machine.npus or not each:
        return [None] * nproc
    return [machine.cores[rank * each : (rank + 1) * each] for rank in range(nproc)]


def render(plan: Sequence[Process], log_dir: Path) -> str:
    """Returns the plan as text for people."""
    blocks = []
    for process in plan:
        cores = "any" if process.cores is None else ",".join(map(str, process.cores))
        lines = [
            f"{process.name}",
            f"  cores    {cores}",
            f"  log      {log_dir / process.log_name}",
        ]
        lines += [f"  {name}={shlex.quote(value)}" for name, value in process.variables.items()]
        lines += [f"  command  {shlex.join(process.command)}"]
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)

"""Who runs where, with which variables: a pure function, so that it can be printed and tested."""

from collections.abc import Mapping
from dataclasses import dataclass

from launch.job import Job
from launch.plan.machine import Machine
from launch.plan.numa import Cores

# With fewer cores per rank than this, the threads that serve an NPU would be in each other's way.
_FEWEST_CORES_FOR_AN_NPU = 4

SEVERAL_RANKS = {
    # How long the scheduler goes without a sign of life of a rank. The supervisor sees a death
    # at once, so this only has to spare a rank that is starved for a while.
    "MS_NODE_TIMEOUT": "300",
    # How long the ranks wait for each other at the start: those of one node may have their data
    # already, while another node still copies it from object storage.
    "MS_TOPO_TIMEOUT": "7800",
    # Seconds between looks at whether the others are there (MindSpore's own: 3 to 5).
    "MS_RETRY_INTERVAL_LOWER": "1",
    "MS_RETRY_INTERVAL_UPPER": "1",
    # On CPU: how long a rank waits in a collective, 30 s if unset. Evaluating or compiling may
    # keep one rank longer than that.
    "MS_CPU_COMM_OP_TIMEOUT": "600",
    # On Ascend: for the links to come up, and for a peer to come to a collective. 120 s for the
    # first is too short when graphs take different times to compile.
    "HCCL_CONNECT_TIMEOUT": "1200",
    "HCCL_EXEC_TIMEOUT": "1800",
    # Older CANN wants a list of allowed hosts otherwise.
    "HCCL_WHITELIST_DISABLE": "1",
}


@dataclass(frozen=True)
class Node:
    """One launcher's part of a job.

    Attributes:
        number: 0..number of nodes - 1.
        host: What messages call its machine.
        first_rank: The lowest of its ranks.
        nproc: Number of its ranks.
        devices: The device of each of its ranks, as a process on it counts them; None for
            0, 1, 2 ...
        before: Where there is a launcher for every rank: the devices of the ranks of the same
            machine that come before its own.
        after: The devices of those that come after.
    """

    number: int
    host: str
    first_rank: int
    nproc: int
    devices: tuple[int, ...] | None = None
    before: tuple[int, ...] = ()
    after: tuple[int, ...] = ()

    @property
    def sharing(self) -> int:
        """Number of ranks among which the cores of its machine are shared."""
        return len(self.before) + self.nproc + len(self.after)

    def device(self, local_rank: int) -> int:
        """Return the device of one of its ranks, counted from 0."""
        return self.devices[local_rank] if self.devices else local_rank


@dataclass(frozen=True)
class World:
    """What all nodes of a job agree on.

    Attributes:
        size: Number of ranks.
        scheduler: Host and port of the scheduler of MindSpore's dynamic cluster, None if there
            is one rank.
    """

    size: int
    scheduler: tuple[str, str] | None = None


@dataclass(frozen=True, eq=False)
class Process:
    """One process of a job.

    Attributes:
        rank: Its rank, None for the scheduler.
        node: Number of its node.
        host: The machine it runs on.
        device: "npu N" (as the process counts them) or "cpu".
        command: What it runs.
        variables: What its environment has on top of the launcher's.
        cores: The cores it is pinned to, None to leave it where the launcher may run.
        batch: Whether the kernel shall schedule it as a batch process.
    """

    rank: int | None
    node: int
    host: str
    device: str
    command: tuple[str, ...]
    variables: Mapping[str, str]
    cores: Cores | None = None
    batch: bool = False

    @property
    def name(self) -> str:
        """How messages call it."""
        return "scheduler" if self.rank is None else f"rank {self.rank}"

    @property
    def log_name(self) -> str:
        """File name of its log in the attempt's folder."""
        return "scheduler.log" if self.rank is None else f"worker_{self.rank}.log"


def make_plan(
    job: Job, node: Node, world: World, machine: Machine, environment: Mapping[str, str]
) -> list[Process]:
    """Plan the processes of one node, in the order in which they are to start.

    Args:
        job: What its processes run.
        node: Whose part it is; node 0 has the scheduler too.
        world: What all nodes agree on.
        machine: What there is to distribute.
        environment: The launcher's own environment: a variable that is only a default is left
            out of the plan when the user has set it.
    """
    cores = _pinning(node, world, machine)
    threads = len(cores[0]) if cores[0] else max(1, machine.num_cores // node.sharing)
    given = {**_cluster(world), **_defaults(world, threads, environment)}
    plan = []
    if world.scheduler and node.number == 0:
        # It moves no data, so it gets no cores of its own.
        role = {"MS_ROLE": "MS_SCHED", **given}
        plan.append(Process(None, 0, node.host, "cpu", tuple(job.scheduler_command), role))
    for local_rank in range(node.nproc):
        plan.append(
            Process(
                rank=node.first_rank + local_rank,
                node=node.number,
                host=node.host,
                device=f"npu {node.device(local_rank)}" if machine.npus else "cpu",
                command=tuple(job.worker_command),
                variables={**_identity(node, local_rank, world, environment), **given},
                cores=cores[local_rank],
                # When a worker of MindSpore 2.10 registers with the scheduler, its receiving
                # thread must not run before its main thread has noted that it is connecting:
                # otherwise the try is lost, and with bad luck so are a hundred more, a minute's
                # worth. Batch processes do not preempt each other on waking up, which makes a
                # lost try rare.
                batch=world.scheduler is not None,
            )
        )
    return plan


def _identity(
    node: Node, local_rank: int, world: World, environment: Mapping[str, str]
) -> dict[str, str]:
    rank = str(node.first_rank + local_rank)
    identity = {
        "RANK_ID": rank,
        "RANK_SIZE": str(world.size),
        "DEVICE_ID": str(node.device(local_rank)),
    }
    if world.scheduler:
        return {"MS_ROLE": "MS_WORKER", "MS_NODE_ID": rank, **identity}
    if world.size == 1 and "DEVICE_ID" in environment:
        del identity["DEVICE_ID"]  # with one rank the device is the user's choice
    return identity


def _cluster(world: World) -> dict[str, str]:
    """Return how the ranks find each other."""
    if not world.scheduler:
        return {}
    host, port = world.scheduler
    return {"MS_WORKER_NUM": str(world.size), "MS_SCHED_HOST": host, "MS_SCHED_PORT": port}


def _defaults(world: World, threads: int, environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables for which a value of the user's wins, without those he has set."""
    defaults = {"PYTHONUNBUFFERED": "1", "GLOG_v": "2", "OMP_NUM_THREADS": str(threads)}
    if world.size > 1:
        defaults |= SEVERAL_RANKS
    return {name: value for name, value in defaults.items() if name not in environment}


def _pinning(node: Node, world: World, machine: Machine) -> list[Cores | None]:
    """Give every rank cores of its own, if there are enough; a single rank may use them all."""
    own = [node.device(rank) for rank in range(node.nproc)]
    everyone = machine.shares([*node.before, *own, *node.after])
    shares = everyone[len(node.before) :][: node.nproc]
    few = machine.npus and shares[0] and len(shares[0]) < _FEWEST_CORES_FOR_AN_NPU
    if world.size == 1 or few:
        return [None] * node.nproc
    return shares

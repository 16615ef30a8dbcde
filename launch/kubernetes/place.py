"""Which node of a job this container is, as Ascend Operator or Volcano tell it by variables."""

from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass

from train.environment import whole_number
from train.errors import UserError

# Set once per container by MindCluster's Ascend Operator. msrun and our launcher use some of these
# names too, for every rank; only the two of _OPERATOR_ALONE tell that it was the operator.
_OPERATOR = ("MS_ROLE", "MS_SCHED_HOST", "MS_SCHED_PORT", "MS_WORKER_NUM")
_OPERATOR_ALONE = ("MS_LOCAL_WORKER", "MS_NODE_RANK")
# Where one of these is set, this process is one rank of somebody else's.
_RANK = ("RANK_ID", "MS_NODE_ID")


@dataclass(frozen=True)
class Place:
    """A node's place in a job; None for what is not said.

    Attributes:
        nnodes: Number of nodes.
        node_rank: Number of this one.
        master: Host of node 0.
        port: The port on which the launchers meet there.
        nproc: Number of ranks on this node.
    """

    nnodes: int | None
    node_rank: int | None
    master: str | None = None
    port: int | None = None
    nproc: int | None = None


def place_in_cluster(environment: Mapping[str, str]) -> Place | None:
    """Return this container's place, None if neither Ascend Operator nor Volcano started it.

    Raises:
        UserError: The variables contradict each other, or some are missing.
    """
    if _is_rank(environment):
        return None
    if _is_operators(environment):
        return _of_operator(environment)
    if environment.get("VC_TASK_INDEX"):
        return _of_volcano(environment)
    return None


def forget_roles(environment: MutableMapping[str, str]) -> None:
    """Take out what Ascend Operator says of the container: ranks have roles of their own.

    A single rank would take the container's role for its own, and our scheduler its port, on which
    the launchers meet.
    """
    if _is_operators(environment) and not _is_rank(environment):
        for name in (*_OPERATOR, *_OPERATOR_ALONE):
            environment.pop(name, None)


def _is_operators(environment: Mapping[str, str]) -> bool:
    return any(environment.get(name) for name in _OPERATOR_ALONE)


def _is_rank(environment: Mapping[str, str]) -> bool:
    return any(environment.get(name) for name in _RANK)


def _of_operator(environment: Mapping[str, str]) -> Place:
    size, here, number = (
        _number(environment, name) for name in ("MS_WORKER_NUM", "MS_LOCAL_WORKER", "MS_NODE_RANK")
    )
    if not here or not size or size % here:
        raise UserError(
            f"environment: MS_WORKER_NUM is {size}, not a multiple of MS_LOCAL_WORKER, {here}"
        )
    nnodes = size // here
    if number >= nnodes:
        raise UserError(
            f"environment: MS_NODE_RANK is {number}, but {size} ranks, {here} in each container, "
            f"make {nnodes} container(s)"
        )
    # The only address that all containers know is the Scheduler's, so the Scheduler has to be node
    # 0. The operator counts that way if it has NPUs; if not, the first Worker is number 0 as well.
    role = environment.get("MS_ROLE")
    if role not in ("MS_SCHED", "MS_WORKER"):
        raise UserError(f"environment: MS_ROLE must be MS_SCHED or MS_WORKER, not {role!r}")
    if (role == "MS_SCHED") != (number == 0) or environment.get("NPU_POD") == "false":
        raise UserError(
            "the Scheduler of this AscendJob has no NPUs: let it have as many as a Worker, and "
            "take one Worker less, as in launch/kubernetes/ascend_job.yaml"
        )
    if nnodes == 1:
        return Place(1, 0, nproc=here)
    master, port = environment.get("MS_SCHED_HOST"), _number(environment, "MS_SCHED_PORT")
    if not master:
        raise UserError("environment: MS_SCHED_HOST must be set")
    if not 1024 <= port <= 65535:
        raise UserError(f"environment: MS_SCHED_PORT is {port}, not a port from 1024 to 65535")
    return Place(nnodes, number, master, port, here)


def _of_volcano(environment: Mapping[str, str]) -> Place | None:
    number = _number(environment, "VC_TASK_INDEX")
    if not environment.get("VC_WORKER_NUM"):
        if number:
            raise UserError(
                f"environment: VC_TASK_INDEX is {number}, but VC_WORKER_NUM is not set: the job "
                "needs Volcano's plugin svc, and its task the name worker"
            )
        return None
    nnodes = _number(environment, "VC_WORKER_NUM")
    if number >= nnodes:
        raise UserError(f"environment: VC_TASK_INDEX is {number}, but VC_WORKER_NUM is {nnodes}")
    master = environment.get("VC_WORKER_HOSTS", "").split(",")[0].strip()
    if nnodes > 1 and not master:
        raise UserError(
            f"environment: VC_WORKER_NUM is {nnodes}, but VC_WORKER_HOSTS names no host"
        )
    return Place(nnodes, number, master if nnodes > 1 else None)


def _number(environment: Mapping[str, str], name: str) -> int:
    if (number := whole_number(environment, name)) is None:
        given = environment.get(name)
        problem = f"be a whole number, not {given!r}" if given else "be set"
        raise UserError(f"environment: {name} must {problem}")
    return number

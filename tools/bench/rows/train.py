"""Training, 2 ranks with a core each: ours against PyTorch's DistributedDataParallel."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

from tools.bench.cases import Case, Comparison, Goal
from tools.bench.group import Group
from tools.bench.session import OUR_STARTER, Session, Turns
from tools.bench.workload import Workload

TITLE = "training, 2 ranks x 1 core"

WORKLOADS = (Workload(16, 2, 48, 8), Workload(28, 4, 72, 8), Workload(10, 1, 32, 4))
QUICK = (Workload(10, 1, 16, 2, (3,)),)
RANKS = 2

# Formats of the tensors in the memory of the twin.
TWINS = {"PyTorch DDP": False, "PyTorch DDP channels_last": True}


def measure(session: Session) -> Iterator[Case]:
    """A case per network."""
    for work in QUICK if session.quick else WORKLOADS:
        session.say(f"train: {work}")
        yield _case(session, work)


def start_all(session: Session, work: Workload, stack: ExitStack) -> dict[str, Group]:
    """Ours and, where there is torch, the twins, with the same first parameters and batches."""
    cores = [[core] for core in session.cores(RANKS)]
    weights = session.folder / f"weights_{work.depth}_{work.width}_{work.size}.npz"
    spec = {"workload": work.tree(), "weights": str(weights)}
    groups = {"ours": stack.enter_context(session.start("ours", "ours", spec, cores, OUR_STARTER))}
    if session.why_no_torch() is None:
        for name, channels_last in TWINS.items():
            own = {**spec, "channels_last": channels_last}
            twin = session.start(name, "torch_training", own, cores, python=session.python)
            groups[name] = stack.enter_context(twin)
    return groups


def missing(session: Session) -> dict[str, str]:
    """The twins, with the reason, where there is no torch."""
    why = session.why_no_torch()
    return {} if why is None else dict.fromkeys(TWINS, why)


def facts(groups: dict[str, Group]) -> dict[str, object]:
    """What every peer said of itself, and how much they disturbed each other when idle."""
    idle = sum(group.idle_seconds for group in groups.values())
    used = sum(group.cpu_seconds for group in groups.values())
    return {
        "peers": {name: group.info for name, group in groups.items()},
        "cpu_share_while_idle": used / idle if idle else 0.0,
    }


def _case(session: Session, work: Workload) -> Case:
    case = Case(str(work), "images/s", missing=missing(session))
    for name in TWINS:
        case.comparisons.append(Comparison(f"ours / {name}", "ours", name, Goal(">=", 1.3)))
    with ExitStack() as stack:
        groups = start_all(session, work, stack)
        images = RANKS * work.images_per_step
        turns = {name: Turns(group, images, session.seconds) for name, group in groups.items()}
        case.series = session.interleave({name: turn.rate for name, turn in turns.items()})
        case.facts = facts(groups)
        case.facts["engine"] = OUR_STARTER
        case.facts["first_losses"] = {name: first_losses(g) for name, g in groups.items()}
    return case


def first_losses(group: Group) -> list[float]:
    """Losses of the first step, mean over the ranks: equal for all peers, to rounding."""
    ranks = [info["losses"][0] for info in group.info]
    return [sum(values) / len(values) for values in zip(*ranks, strict=True)]

"""Memory of a rank that trains, against the PyTorch twin."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

from tools.bench.cases import Case, Comparison, Goal
from tools.bench.rows.train import QUICK, TWINS, WORKLOADS, facts, missing, start_all
from tools.bench.session import Session
from tools.bench.workload import Workload

TITLE = "memory per rank"

_STEPS = 5


def measure(session: Session) -> Iterator[Case]:
    """A case per network, one round: memory hardly varies."""
    for work in QUICK if session.quick else WORKLOADS:
        session.say(f"memory: {work}")
        yield _case(session, work)


def _case(session: Session, work: Workload) -> Case:
    case = Case(str(work), "MB", missing=missing(session))
    for name in TWINS:
        goal = Goal("<=", 1.0)
        case.comparisons.append(Comparison(f"peak, ours / {name}", "ours", name, goal))
    with ExitStack() as stack:
        groups = start_all(session, work, stack)
        shares = {}
        for name, group in groups.items():
            group.ask("run", steps=_STEPS)
            answers = group.ask("memory")
            case.series[name] = [max(answer["peak"] for answer in answers)]
            shares[name] = [answer["share"] for answer in answers]
        case.facts = {**facts(groups), "proportional_share_after_steps": shares}
    return case

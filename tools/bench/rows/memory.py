"""Memory of a rank that trains, against the PyTorch twin."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

from tools.bench.cases import Case, Comparison, Goal
from tools.bench.group import Group
from tools.bench.rows.train import (
    QUICK,
    RANKS,
    TWINS,
    WORKLOADS,
    facts,
    missing,
    start_all,
)
from tools.bench.session import OUR_STARTER, Session
from tools.bench.workload import Workload

TITLE = "memory per rank"

_STEPS = 5
_AGAIN = "ours, graph known"


def measure(session: Session) -> Iterator[Case]:
    """A case per network, one round: memory hardly varies."""
    for work in QUICK if session.quick else WORKLOADS:
        session.say(f"memory: {work}")
        yield _case(session, work)


def _case(session: Session, work: Workload) -> Case:
    case = Case(str(work), "MB", missing=missing(session))
    for name in TWINS:
        goal = Goal("<=", 1.0)
        case.comparisons += [
            Comparison(f"peak, {mine} / {name}", mine, name, goal) for mine in ("ours", _AGAIN)
        ]
    with ExitStack() as stack:
        groups = start_all(session, work, stack)
        groups[_AGAIN] = stack.enter_context(_with_known_graph(session, work))
        shares = {}
        for name, group in groups.items():
            group.ask("run", steps=_STEPS)
            answers = group.ask("memory")
            case.series[name] = [max(answer["peak"] for answer in answers)]
            shares[name] = [answer["share"] for answer in answers]
        case.facts = {**facts(groups), "proportional_share_after_steps": shares}
    return case


def _with_known_graph(session: Session, work: Workload) -> Group:
    """Ours as it starts when it does so not for the first time: it reads the graph of its step."""
    cores = [[core] for core in session.cores(RANKS)]
    variables = {"MTLN_GRAPH_CACHE": str(session.folder / "graphs")}

    def start() -> Group:
        spec = {"workload": work.tree()}
        return session.start(_AGAIN, "ours", spec, cores, OUR_STARTER, variables=variables)

    start().stop()
    return start()

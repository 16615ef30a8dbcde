"""Weak scaling: 2 ranks with a core each against 1 rank with a core, as many images per rank."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

from tools.bench.cases import Case, Comparison, Goal
from tools.bench.rows.train import QUICK, RANKS, WORKLOADS, facts
from tools.bench.session import OUR_STARTER, Session, Turns
from tools.bench.workload import Workload

TITLE = "weak scaling"


def measure(session: Session) -> Iterator[Case]:
    """A case per network."""
    for work in QUICK if session.quick else WORKLOADS:
        session.say(f"scaling: {work}")
        yield _case(session, work)


def _case(session: Session, work: Workload) -> Case:
    cores = [[core] for core in session.cores(RANKS)]
    spec, share = {"workload": work.tree()}, 1 / RANKS
    goal, apart = Goal(">=", 0.97), "2 ranks apart"
    case = Case(
        str(work),
        "images/s",
        comparisons=[
            Comparison("2 ranks / (2 x 1 rank)", "2 ranks", "1 rank", goal, factor=share),
            Comparison(
                "2 ranks apart, at the same time / (2 x 1 rank): the machine's part",
                apart,
                "1 rank",
                factor=share,
            ),
            Comparison("2 ranks / 2 ranks apart: our part", "2 ranks", apart),
        ],
    )
    with ExitStack() as stack:
        start = session.start
        groups = {"2 ranks": start("2 ranks", "ours", spec, cores, OUR_STARTER)}
        stack.enter_context(groups["2 ranks"])
        for name, own in zip(("first rank", "second rank"), cores, strict=True):
            groups[name] = stack.enter_context(start(name, "ours", spec, [own]))
        joined = Turns(groups["2 ranks"], RANKS * work.images_per_step, session.seconds)
        first, second = (
            Turns(groups[name], work.images_per_step, session.seconds)
            for name in ("first rank", "second rank")
        )
        second.steps = first.steps

        def together() -> float:
            for one in (first, second):
                one.tell()
            seconds = max(one.duration() for one in (first, second))
            return RANKS * work.images_per_step * first.steps / seconds

        turns = {"2 ranks": joined.rate, "1 rank": first.rate, apart: together}
        case.series = session.interleave(turns)
        case.facts = {**facts(groups), "engine": OUR_STARTER}
    return case

"""What of a step of 2 ranks is spent in the reduction: by our launcher, and under mpirun."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from contextlib import ExitStack

from tools.bench.cases import Case, Comparison, Goal
from tools.bench.group import Group, Starter, mpirun_is_there
from tools.bench.rows.train import QUICK, RANKS, WORKLOADS, facts
from tools.bench.session import NO_MPI, Session, Turns
from tools.bench.workload import Workload

TITLE = "time in the reduction, 2 ranks"

_ENGINES: dict[str, Starter] = {"shared memory": "launch", "MPI": "mpirun"}
_REPEATS = 20


def measure(session: Session) -> Iterator[Case]:
    """A case per engine; shared memory, which is the usual one, with all networks."""
    networks = QUICK if session.quick else WORKLOADS
    for engine in _ENGINES:
        for work in networks[:1] if engine == "MPI" else networks:
            session.say(f"reduction: {engine}, {work}")
            yield _case(session, engine, work)


def _case(session: Session, engine: str, work: Workload) -> Case:
    case = Case(
        f"{engine}, {work}",
        "ms",
        comparisons=[
            _share("message alone, all ranks there at once / step", "message", Goal("<", 2.0)),
            _share("(step - step without exchange) / step", "difference", None),
        ],
    )
    if engine == "MPI" and not mpirun_is_there():
        case.missing = dict.fromkeys(("message", "difference", "step"), NO_MPI)
        return case
    cores = [[core] for core in session.cores(RANKS)]
    spec = {"workload": work.tree()}
    with ExitStack() as stack:
        groups = {
            name: stack.enter_context(
                session.start(name, "ours", {**spec, "exchange": exchange}, cores, _ENGINES[engine])
            )
            for name, exchange in (("step", True), ("step without exchange", False))
        }
        images = RANKS * work.images_per_step
        turns = {name: Turns(group, images, session.seconds) for name, group in groups.items()}
        measured = session.interleave(
            {
                "message": lambda: _message(groups["step"]),
                **{name: _milliseconds(turn) for name, turn in turns.items()},
            }
        )
        pairs = zip(measured["step"], measured["step without exchange"], strict=True)
        case.series = {**measured, "difference": [a - b for a, b in pairs]}
        case.facts = {**facts(groups), "bytes": groups["step"].info[0]["message_bytes"]}
    return case


def _share(what: str, of: str, goal: Goal | None) -> Comparison:
    return Comparison(what, of, "step", goal, form="percent", factor=100)


def _milliseconds(turn: Turns) -> Callable[[], float]:
    return lambda: 1000 * turn.step_seconds()


def _message(group: Group) -> float:
    """Milliseconds of a reduction of the step's message: median of some, slowest rank."""
    answers = group.ask("reduce", repeats=_REPEATS)
    return 1000 * max(float(statistics.median(answer["seconds"])) for answer in answers)

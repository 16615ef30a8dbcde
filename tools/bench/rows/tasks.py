"""What many tasks cost: a step with 30 tasks against one with 3, as many images in both."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

from tools.bench.cases import Case, Comparison, Goal
from tools.bench.rows.train import facts
from tools.bench.session import Session, Turns
from tools.bench.workload import Workload

TITLE = "cost of many tasks, 1 rank x 1 core"

_CLASSES = 12
_FEW, _MANY = 3, 30
_QUICK_MANY = 6


def measure(session: Session) -> Iterator[Case]:
    """A case for the steps, and one for the compilation."""
    many = _QUICK_MANY if session.quick else _MANY
    session.say(f"tasks: {many} against {_FEW}")
    works = {f"{n} tasks": _workload(session, n, many) for n in (_FEW, many)}
    few, lots = works
    steps = Case(
        f"{works[lots]} against {works[few]}",
        "ms",
        comparisons=[Comparison(f"step, {lots} / {few}", lots, few, Goal("<", 1.3))],
    )
    compiling = Case(
        f"the first step of these: {lots} against {few}",
        "s",
        comparisons=[Comparison(f"compilation, {lots} / {few}", lots, few)],
    )
    with ExitStack() as stack:
        core = session.cores(1)
        groups = {
            name: stack.enter_context(
                session.start(name, "ours", {"workload": work.tree()}, [core])
            )
            for name, work in works.items()
        }
        turns = {
            name: Turns(groups[name], work.images_per_step, session.seconds)
            for name, work in works.items()
        }
        few_turn, many_turn = turns.values()
        steps.series = session.interleave(
            {
                few: lambda: 1000 * few_turn.step_seconds(),
                lots: lambda: 1000 * many_turn.step_seconds(),
            }
        )
        steps.facts = facts(groups)
        compiling.series = {n: [g.info[0]["compile_seconds"]] for n, g in groups.items()}
    yield steps
    yield compiling


def _workload(session: Session, tasks: int, images: int) -> Workload:
    classes = (_CLASSES,) * tasks
    if session.quick:
        return Workload(10, 1, 16, images // tasks, classes)
    return Workload(16, 2, 48, images // tasks, classes)

"""Evaluation against training, 2 ranks with a core each, both out of records on the disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tools.bench.cases import Case, Comparison, Goal
from tools.bench.group import Group
from tools.bench.pictures import prepare_sets
from tools.bench.rows.train import QUICK, RANKS, WORKLOADS, facts
from tools.bench.session import OUR_STARTER, Session

TITLE = "evaluation against training, 2 ranks x 1 core"

_STORED = 64


def measure(session: Session) -> Iterator[Case]:
    """One case."""
    work = (QUICK if session.quick else WORKLOADS)[0]
    session.say(f"evaluation: {work}")
    per_class = 8 if session.quick else 48
    records = prepare_sets(session.folder, work.classes, per_class, _STORED)
    spec = {
        "workload": work.tree(),
        "records": {name: str(path) for name, path in records.items()},
    }
    case = Case(
        f"{work}, JPEG {_STORED} px",
        "images/s",
        comparisons=[Comparison("evaluation / training", "evaluate", "train", Goal(">", 3.0))],
    )
    cores = [[core] for core in session.cores(RANKS)]
    with session.start("ours", "evaluation", spec, cores, OUR_STARTER) as group:
        turns = {do: _turn(session, group, do) for do in ("train", "evaluate")}
        case.series = session.interleave(turns)
        case.facts = {**facts({"ours": group}), "engine": OUR_STARTER}
    yield case


def _turn(session: Session, group: Group, do: str) -> Callable[[], float]:
    """Images per second of all ranks; the duration of a turn is calibrated here."""

    def ask(times: int) -> tuple[float, int]:
        answers = group.ask(do, times=times)
        return max(answer["seconds"] for answer in answers), answers[0]["images"]

    times = max(1, round(session.seconds / ask(1)[0]))

    def rate() -> float:
        seconds, images = ask(times)
        return images / seconds

    return rate

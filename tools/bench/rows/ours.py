"""Ours against itself: on another number of ranks, without the reduction, with many tasks."""

import statistics
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from tools.bench.group import Group, Starter, why_no_mpi
from tools.bench.results import Case, Comparison, Goal
from tools.bench.session import RANKS, Peers, Session, Turn, Turns
from tools.bench.workload import Workload

_JOINED, _ALONE, _APART = "2 ranks", "1 rank", "2 ranks apart"
_MACHINE = "2 ranks apart, at the same time / (2 x 1 rank): the machine's part"

_ENGINES: dict[str, Starter] = {"shared memory": "launch", "MPI": "mpirun"}
_STEP, _WITHOUT, _MESSAGE, _DIFFERENCE = "step", "step without exchange", "message", "difference"
_CHECKS, _IN_STEP, _AT_POINT = "all checks", "checks of a step", "checks of a point"
_HELD, _WRITTEN = "held", "written"
_CHECKED = "step", "nothing", "point"

_CLASSES = 12


def scaling(session: Session) -> Iterator[Case]:
    """Measure weak scaling: as many images per rank, a case per network."""
    for work in session.networks:
        case = Case(str(work), "images/s")
        goal, share = Goal(">=", 0.97), 1 / RANKS
        case.comparisons = [
            Comparison("2 ranks / (2 x 1 rank)", _JOINED, _ALONE, goal, factor=share),
            Comparison(_MACHINE, _APART, _ALONE, factor=share),
            Comparison("2 ranks / 2 ranks apart: our part", _JOINED, _APART),
        ]
        with Peers(session, case) as peers:
            joined = peers.start_ranks(_JOINED, work.spec())
            ranks = [
                peers.start(name, "ours.Trainer", work.spec(), [own])
                for name, own in zip(("first rank", "second rank"), session.cores(), strict=True)
            ]
            images = work.images_per_step
            first, second = (Turns(rank, images, session.seconds) for rank in ranks)
            turns: dict[str, Turn] = {
                _JOINED: Turns(joined, RANKS * images, session.seconds).rate,
                _ALONE: first.rate,
                _APART: partial(_rate_together, first, second),
            }
            case.series = session.interleave(turns)
        yield case


def _rate_together(first: Turns, second: Turns) -> float:
    """Return the images per second of two groups that work at the same time."""
    second.steps = first.steps
    first.tell()
    second.tell()
    seconds = max(first.duration(), second.duration())
    return (first.images + second.images) * first.steps / seconds


def reduction(session: Session) -> Iterator[Case]:
    """Measure a case per engine; shared memory, which is the usual one, with all networks."""
    for engine in _ENGINES:
        for work in session.networks[:1] if engine == "MPI" else session.networks:
            yield _reduction(session, engine, work)


def _reduction(session: Session, engine: str, work: Workload) -> Case:
    case = Case(f"{engine}, {work}", "ms")
    share = partial(Comparison, to=_STEP, form="percent", factor=100.0)
    case.comparisons = [
        share("message alone, all ranks there at once / step", _MESSAGE, goal=Goal("<", 2.0)),
        share("(step - step without exchange) / step", _DIFFERENCE),
    ]
    if why := why_no_mpi(engine):
        case.missing = dict.fromkeys((_MESSAGE, _DIFFERENCE, _STEP), why)
        return case
    with Peers(session, case) as peers:
        joined = peers.start_ranks(_STEP, work.spec(), starter=_ENGINES[engine])
        peers.start_ranks(_WITHOUT, work.spec(exchange=False), starter=_ENGINES[engine])
        images, message = RANKS * work.images_per_step, partial(_message, joined)
        series = peers.train(images, "milliseconds", **{_MESSAGE: message})
        pairs = zip(series[_STEP], series[_WITHOUT], strict=True)
        case.series = {**series, _DIFFERENCE: [a - b for a, b in pairs]}
        case.facts["bytes"] = joined.info[0]["message_bytes"]
    return case


def _message(group: Group) -> float:
    """Return the milliseconds of a reduction of the step's message: median, slowest rank."""
    answers = group.ask("reduce", repeats=20)
    return 1000 * max(float(statistics.median(answer["times"])) for answer in answers)


def checks(session: Session) -> Iterator[Case]:
    """Measure what is checked in a step and at a consolidation point, against the training."""
    for work in session.networks:
        case = Case(str(work), "ms")
        share = partial(Comparison, to=_STEP, form="percent", factor=100.0)
        case.comparisons = [
            share("all checks / training", _CHECKS, goal=Goal("<", 1.0)),
            share("those of a step / step", _IN_STEP),
        ]
        with Peers(session, case) as peers:
            group = peers.start_ranks(_STEP, work.spec(), "checks.Checked")
            every = group.info[0]["consolidate_every"]
            others = {name: partial(_checks, group, name) for name in (_IN_STEP, _AT_POINT)}
            series = peers.train(RANKS * work.images_per_step, "milliseconds", **others)
            pairs = zip(series[_IN_STEP], series[_AT_POINT], strict=True)
            case.series = {**series, _CHECKS: [step + point / every for step, point in pairs]}
            case.facts["consolidate_every"] = every
        yield case


def _checks(group: Group, name: str) -> float:
    """Return the milliseconds of the checks of a step or of a point: median, slowest rank."""
    answers = group.ask("check", repeats=20)
    medians = [{key: statistics.median(answer[key]) for key in _CHECKED} for answer in answers]
    if name == _AT_POINT:
        return 1000 * max(float(median["point"]) for median in medians)
    return 1000 * max(float(median["step"] - median["nothing"]) for median in medians)


def saving(session: Session) -> Iterator[Case]:
    """Measure how long a checkpoint holds the training up, and how long it takes beside it."""
    for work in session.networks:
        case = Case(str(work), "ms")
        case.comparisons = [
            Comparison("held up / until it is on the disk", _HELD, _WRITTEN),
            Comparison("held up, in steps", _HELD, _STEP, Goal("<", 1.0)),
        ]
        with Peers(session, case) as peers:
            group = peers.start(_STEP, "checks.Checked", work.spec(), session.cores(1))
            others = {name: partial(_save, group, name) for name in (_HELD, _WRITTEN)}
            case.series = peers.train(work.images_per_step, "milliseconds", **others)
        yield case


def _save(group: Group, name: str) -> float:
    """Return the milliseconds of some checkpoints: median."""
    [answer] = group.ask("save", repeats=5)
    return 1000 * float(statistics.median(answer[name]))


def tasks(session: Session) -> Iterator[Case]:
    """Measure a step with many tasks against one with few, as many images, and its compilation."""
    base, numbers = session.networks[0], (3, 6 if session.quick else 30)
    works = {
        f"{n} tasks": replace(base, images=max(numbers) // n, classes=(_CLASSES,) * n)
        for n in numbers
    }
    few, many = works
    case = Case(f"{works[many]} against {works[few]}", "ms")
    case.comparisons = [Comparison(f"step, {many} / {few}", many, few, Goal("<", 1.3))]
    compiling = Case(f"the first step of these: {many} against {few}", "s")
    compiling.comparisons = [Comparison(f"compilation, {many} / {few}", many, few)]
    with Peers(session, case) as peers:
        for name, work in works.items():
            peers.start(name, "ours.Trainer", work.spec(), session.cores(1))
        case.series = peers.train(works[few].images_per_step, "milliseconds")
        infos = {name: group.info[0] for name, group in peers.groups.items()}
        compiling.series = {name: [info["compile_seconds"]] for name, info in infos.items()}
    yield case
    yield compiling

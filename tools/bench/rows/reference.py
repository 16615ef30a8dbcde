"""Training against the schedule of the MTLN reference script, on both cores.

With MindSpore as installed a step of the script takes minutes where the processor has AVX-512; a
small batch, which is no slower per image then, is enough to see by how much.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace

from tools.bench.cases import Case, Comparison, Goal
from tools.bench.rows.train import QUICK, RANKS, facts
from tools.bench.session import OUR_STARTER, Session, Turns
from tools.bench.workload import Workload

TITLE = "training against the reference script's schedule, 2 cores"

_AS_INSTALLED = Workload(16, 2, 48, 8)
_SMALL_BATCH = 6
_CAPPED = (Workload(16, 2, 48, 8), Workload(28, 4, 72, 8))
_CAP = {"ONEDNN_MAX_CPU_ISA": "AVX2"}


def measure(session: Session) -> Iterator[Case]:
    """A case with MindSpore as installed, and others with the cap that our set-up makes."""
    if not session.quick:
        how = f"MindSpore as installed, {_SMALL_BATCH} images"
        yield _case(session, _AS_INSTALLED, _SMALL_BATCH, how, {}, Goal(">=", 100))
    for work in QUICK if session.quick else _CAPPED:
        # The script has one task in a batch. Both see as many images in a step of all cores.
        images = work.images_per_step * RANKS
        yield _case(session, work, images, "ONEDNN_MAX_CPU_ISA=AVX2", _CAP, None)


def _case(
    session: Session,
    work: Workload,
    images: int,
    how: str,
    variables: dict[str, str],
    goal: Goal | None,
) -> Case:
    session.say(f"reference: {how}, {work}")
    case = Case(
        f"{work}; the script: {how}",
        "images/s",
        comparisons=[Comparison("ours (2 ranks) / the script (2 threads)", "ours", "script", goal)],
    )
    cores = session.cores(RANKS)
    alone = replace(work, images=images)
    with ExitStack() as stack:
        spec = {"workload": work.tree()}
        ours = session.start("ours", "ours", spec, [[c] for c in cores], OUR_STARTER)
        stack.enter_context(ours)
        spec = {"workload": alone.tree()}
        script = session.start("script", "reference", spec, [cores], variables=variables)
        stack.enter_context(script)
        turns = {
            "ours": Turns(ours, RANKS * work.images_per_step, session.seconds),
            # A turn is one step of every task, at least.
            "script": Turns(script, alone.images_per_step, session.seconds),
        }
        case.series = session.interleave({name: turn.rate for name, turn in turns.items()})
        case.facts = {**facts({"ours": ours, "script": script}), "engine": OUR_STARTER}
    return case

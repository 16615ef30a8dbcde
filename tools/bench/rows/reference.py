"""Training against the schedule of the MTLN reference script, on both cores.

With MindSpore as installed a step of the script takes minutes where the processor has AVX-512; a
small batch, which is no slower per image then, is enough to see by how much.
"""

from collections.abc import Iterator
from dataclasses import replace

from tools.bench.results import Case, Comparison, Goal
from tools.bench.session import RANKS, Peers, Session, Turns
from tools.bench.workload import NETWORKS, Workload

_SMALL_BATCH = 6
_CAP = "ONEDNN_MAX_CPU_ISA"


def reference(session: Session) -> Iterator[Case]:
    """Measure a case with MindSpore as installed, and others with the cap of our set-up."""
    if not session.quick:
        how = f"MindSpore as installed, {_SMALL_BATCH} images"
        yield _case(session, NETWORKS[0], _SMALL_BATCH, how, {}, Goal(">=", 100))
    for work in session.networks[:2]:
        # The script has one task in a batch. Both see as many images in a step of all cores.
        images = work.images_per_step * RANKS
        yield _case(session, work, images, f"{_CAP}=AVX2", {_CAP: "AVX2"}, None)


def _case(
    session: Session,
    work: Workload,
    images: int,
    how: str,
    variables: dict[str, str],
    goal: Goal | None,
) -> Case:
    case = Case(f"{work}; the script: {how}", "images/s")
    what = "ours (2 ranks) / the script (2 threads)"
    case.comparisons = [Comparison(what, "ours", "script", goal)]
    alone = replace(work, images=images)
    with Peers(session, case) as peers:
        ours = peers.start_ranks("ours", work.spec())
        both = [[core for [core] in session.cores()]]
        script = peers.start("script", "reference.Trainer", alone.spec(), both, variables=variables)
        # A turn of the script is one step of every task, at least.
        turns = {
            "ours": Turns(ours, RANKS * work.images_per_step, session.seconds),
            "script": Turns(script, alone.images_per_step, session.seconds),
        }
        case.series = session.interleave({name: turn.rate for name, turn in turns.items()})
    return case

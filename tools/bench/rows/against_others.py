"""Ours, 2 ranks with a core each, against the PyTorch twin and the MTLN reference script."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from tools.bench.results import Case, Comparison, Goal
from tools.bench.session import RANKS, Peers, Session, Turns
from tools.bench.workload import NETWORKS, Workload

# Whether the tensors in the memory of the twin have their channels last.
_TWINS = {"PyTorch DDP": False, "PyTorch DDP channels_last": True}
_AGAIN = "ours, graph known"
_CAP = "ONEDNN_MAX_CPU_ISA"


def train(session: Session) -> Iterator[Case]:
    """Measure a case per network."""
    for work in session.networks:
        case = Case(str(work), "images/s", missing=session.without_torch(*_TWINS))
        for name in _TWINS:
            case.comparisons.append(Comparison(f"ours / {name}", "ours", name, Goal(">=", 1.3)))
        with Peers(session, case) as peers:
            _start_all(peers, work)
            case.series = peers.train(RANKS * work.images_per_step, "rate")
            # The losses of the first step, mean over the ranks: equal for all, to rounding.
            losses = {
                name: np.mean([rank["losses"][0] for rank in group.info], axis=0).tolist()
                for name, group in peers.groups.items()
            }
            case.facts["first_losses"] = losses
        yield case


def memory(session: Session) -> Iterator[Case]:
    """Measure a case per network, one round: memory hardly varies."""
    # Ours as it starts when it does so not for the first time: it reads the graph of its step.
    variables = {"MTLN_GRAPH_CACHE": str(session.folder / "graphs")}
    for work in session.networks:
        case = Case(str(work), "MB", missing=session.without_torch(*_TWINS))
        for name in _TWINS:
            for mine in ("ours", _AGAIN):
                what = f"peak, {mine} / {name}"
                case.comparisons.append(Comparison(what, mine, name, Goal("<=", 1.0)))
        with Peers(session, case) as peers:
            peers.start_ranks(_AGAIN, work.spec(), variables=variables).stop()
            _start_all(peers, work)
            peers.start_ranks(_AGAIN, work.spec(), variables=variables)
            shares = {}
            for name, group in peers.groups.items():
                group.ask("run", steps=5)
                answers = group.ask("memory")
                case.series[name] = [max(answer["peak"] for answer in answers)]
                shares[name] = [answer["share"] for answer in answers]
            case.facts["proportional_share_after_steps"] = shares
        yield case


def _start_all(peers: Peers, work: Workload) -> None:
    """Start ours and, where there is torch, the twins, with the same parameters and batches."""
    session = peers.session
    weights = session.folder / f"weights_{work.depth}_{work.width}_{work.size}.npz"
    spec = work.spec(weights=str(weights))
    peers.start_ranks("ours", spec)
    for name, channels_last in _TWINS.items():
        if name not in peers.case.missing:
            own, cores = {**spec, "channels_last": channels_last}, session.cores()
            peers.start(name, "torch_twin.Trainer", own, cores, python=session.python)


def reference(session: Session) -> Iterator[Case]:
    """Measure a case with MindSpore as installed, and others with the cap of our set-up.

    As installed, a step of the script takes minutes where the processor has AVX-512; a small batch,
    which is no slower per image then, is enough to see by how much.
    """
    if not session.quick:
        how = "MindSpore as installed, 6 images"
        yield _reference(session, NETWORKS[0], 6, how, {}, Goal(">=", 100))
    for work in session.networks[:2]:
        # The script has one task in a batch. Both see as many images in a step of all cores.
        images = work.images_per_step * RANKS
        yield _reference(session, work, images, f"{_CAP}=AVX2", {_CAP: "AVX2"}, None)


def _reference(
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
            "ours": Turns(ours, RANKS * work.images_per_step, session.seconds).rate,
            "script": Turns(script, alone.images_per_step, session.seconds).rate,
        }
        case.series = session.interleave(turns)
    return case

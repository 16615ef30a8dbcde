"""Speed and memory of training, 2 ranks with a core each: ours against the PyTorch twin."""

from collections.abc import Iterator

from tools.bench.group import Group
from tools.bench.results import Case, Comparison, Goal
from tools.bench.session import RANKS, Peers, Session
from tools.bench.workload import Workload

# Whether the tensors in the memory of the twin have their channels last.
_TWINS = {"PyTorch DDP": False, "PyTorch DDP channels_last": True}
_AGAIN = "ours, graph known"
_STEPS = 5


def train(session: Session) -> Iterator[Case]:
    """Measure a case per network."""
    for work in session.networks:
        case = Case(str(work), "images/s", missing=_missing(session))
        for name in _TWINS:
            case.comparisons.append(Comparison(f"ours / {name}", "ours", name, Goal(">=", 1.3)))
        with Peers(session, case) as peers:
            _start_all(peers, work)
            turns = peers.turns(RANKS * work.images_per_step)
            case.series = session.interleave({name: turn.rate for name, turn in turns.items()})
            losses = {name: _first_losses(group) for name, group in peers.groups.items()}
            case.facts["first_losses"] = losses
        yield case


def memory(session: Session) -> Iterator[Case]:
    """Measure a case per network, one round: memory hardly varies."""
    # Ours as it starts when it does so not for the first time: it reads the graph of its step.
    variables = {"MTLN_GRAPH_CACHE": str(session.folder / "graphs")}
    for work in session.networks:
        case = Case(str(work), "MB", missing=_missing(session))
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
                group.ask("run", steps=_STEPS)
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


def _missing(session: Session) -> dict[str, str]:
    """Return the twins with the reason, where there is no torch."""
    why = session.why_no_torch()
    return {} if why is None else dict.fromkeys(_TWINS, why)


def _first_losses(group: Group) -> list[float]:
    """Return the losses of the first step, mean over the ranks: equal for all, to rounding."""
    ranks = [info["losses"][0] for info in group.info]
    return [sum(values) / len(values) for values in zip(*ranks, strict=True)]

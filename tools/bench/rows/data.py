"""What reads its data from the disk: the input pipelines, and evaluation."""

import sys
from collections.abc import Callable, Iterator

from tools.bench.group import Group
from tools.bench.pictures import prepare_sets
from tools.bench.results import Case, Comparison, Goal
from tools.bench.session import Peers, Session, Turns

_OURS, _RAM = "ours", "ours, cache: ram"
_TORCH, _MINDSPORE = "PyTorch DataLoader", "ImageFolderDataset"
_KINDS = {
    _OURS: "loaders.Ours",
    _RAM: "loaders.Ours",
    _MINDSPORE: "loaders.Folder",
    _TORCH: "torch_loader.Loader",
}
# Pixels of the pictures on the disk in both rows, and of what the input pipelines make of them.
_INPUT, _EVALUATION = 128, 64
_SIZE = 72
_CLASSES = 12


def input(session: Session) -> Iterator[Case]:
    """Measure one case on one core: JPEG files or records to augmented images."""
    name = f"JPEG {_INPUT} px to {_SIZE} px: crop, flips, turns, brightness, contrast"
    case = Case(name, "images/s")
    case.comparisons = [
        Comparison(f"{_OURS} / {_TORCH} (Pillow)", _OURS, _TORCH, Goal(">=", 1.5)),
        Comparison(f"{_RAM} / {_TORCH} (Pillow)", _RAM, _TORCH),
        Comparison(f"{_OURS} / {_MINDSPORE}", _OURS, _MINDSPORE),
    ]
    if why := session.why_no_torch():
        case.missing = {_TORCH: why}
    per_class = 8 if session.quick else 160
    records = prepare_sets(session.folder, [_CLASSES], per_class, _INPUT)["set0"]
    pictures = str(session.folder / "pictures" / "set0")
    spec = {"records": records, "pictures": pictures, "size": _SIZE}
    with Peers(session, case) as peers:
        for name, kind in _KINDS.items():
            if name not in case.missing:
                own = {**spec, "cache": "ram" if name == _RAM else "none"}
                python = session.python if name == _TORCH else sys.executable
                peers.start(name, kind, own, session.cores(1), python=python)
        turns = {name: _turn(session, group) for name, group in peers.groups.items()}
        case.series = session.interleave(turns)
    yield case


def _turn(session: Session, group: Group) -> Callable[[], float]:
    """Return what measures images/s; in a quick trial few are read before the clock starts."""
    ahead = 0 if session.quick else 10**6

    def rate() -> float:
        [answer] = group.ask("run", seconds=session.seconds, most_ahead=ahead)
        return float(answer["rate"])

    return rate


def evaluation(session: Session) -> Iterator[Case]:
    """Measure one case: evaluation against training, 2 ranks with a core each."""
    work = session.networks[0]
    case = Case(f"{work}, JPEG {_EVALUATION} px", "images/s")
    case.comparisons = [Comparison("evaluation / training", "evaluate", "train", Goal(">", 3.0))]
    per_class = 8 if session.quick else 48
    records = prepare_sets(session.folder, work.classes, per_class, _EVALUATION)
    with Peers(session, case) as peers:
        group = peers.start_ranks("ours", work.spec(records=records), kind="ours.Evaluator")
        turns = {
            name: Turns(group, group.info[0]["images"][do], session.seconds, do).rate
            for name, do in (("train", "run"), ("evaluate", "evaluate"))
        }
        case.series = session.interleave(turns)
    yield case

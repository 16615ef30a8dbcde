"""Input pipelines on one core: JPEG files or records of 128 px to augmented images of 72 px."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack

from tools.bench.cases import Case, Comparison, Goal
from tools.bench.group import Group
from tools.bench.pictures import prepare_sets
from tools.bench.rows.train import facts
from tools.bench.session import Session

TITLE = "input pipeline on 1 core"

_STORED, _SIZE = 128, 72
_CLASSES = 12
_OURS, _RAM = "ours", "ours, cache: ram"
_TORCH, _MINDSPORE = "PyTorch DataLoader", "ImageFolderDataset"


def measure(session: Session) -> Iterator[Case]:
    """One case."""
    session.say("input")
    per_class = 8 if session.quick else 160
    records = prepare_sets(session.folder, [_CLASSES], per_class, _STORED)["set0"]
    pictures = session.folder / "pictures" / "set0"
    spec = {"records": str(records), "pictures": str(pictures), "size": _SIZE}
    why = session.why_no_torch()
    case = Case(
        f"JPEG {_STORED} px to {_SIZE} px: crop, flips, turns, brightness, contrast",
        "images/s",
        comparisons=[
            Comparison(f"{_OURS} / {_TORCH} (Pillow)", _OURS, _TORCH, Goal(">=", 1.5)),
            Comparison(f"{_RAM} / {_TORCH} (Pillow)", _RAM, _TORCH),
            Comparison(f"{_OURS} / {_MINDSPORE}", _OURS, _MINDSPORE),
        ],
        missing={} if why is None else {_TORCH: why},
    )
    kinds = {_OURS: "our_loader", _RAM: "our_loader", _MINDSPORE: "mindspore_loader"}
    if why is None:
        kinds[_TORCH] = "torch_loader"
    with ExitStack() as stack:
        groups = {}
        for name, kind in kinds.items():
            python = session.python if name == _TORCH else sys.executable
            own = {**spec, "cache": "ram" if name == _RAM else "none"}
            group = session.start(name, kind, own, [session.cores(1)], python=python)
            groups[name] = stack.enter_context(group)
        case.series = session.interleave(
            {name: _turn(session, group) for name, group in groups.items()}
        )
        case.facts = facts(groups)
    yield case


def _turn(session: Session, group: Group) -> Callable[[], float]:
    """Images per second; in a quick trial hardly any are read before the clock starts."""
    ahead = 0 if session.quick else 10**6

    def rate() -> float:
        [answer] = group.ask("run", seconds=session.seconds, most_ahead=ahead)
        return float(answer["rate"])

    return rate

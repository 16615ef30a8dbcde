"""What reads its data from the disk: the input pipelines, and evaluation."""

import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from tools.bench.group import Group
from tools.bench.results import Case, Comparison, Goal
from tools.bench.session import Peers, Session, Turns, run_tool

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
    case.missing = session.without_torch(_TORCH)
    per_class = 8 if session.quick else 160
    records = _prepared(session.folder, [_CLASSES], per_class, _INPUT)["set0"]
    pictures = str(session.folder / "pictures" / "set0")
    spec = {"records": records, "pictures": pictures, "size": _SIZE}
    with Peers(session, case) as peers:
        for name, kind in _KINDS.items():
            if name not in case.missing:
                own = {**spec, "cache": "ram" if name == _RAM else "none"}
                python = session.python if name == _TORCH else sys.executable
                peers.start(name, kind, own, session.cores(1), python=python)
        turns = {name: partial(_rate, session, group) for name, group in peers.groups.items()}
        case.series = session.interleave(turns)
    yield case


def _rate(session: Session, group: Group) -> float:
    """Measure images/s; in a quick trial few are read before the clock starts."""
    ahead = 0 if session.quick else 10**6
    [answer] = group.ask("run", seconds=session.seconds, most_ahead=ahead)
    return float(answer["rate"])


def evaluation(session: Session) -> Iterator[Case]:
    """Measure one case: evaluation against training, 2 ranks with a core each."""
    work = session.networks[0]
    case = Case(f"{work}, JPEG {_EVALUATION} px", "images/s")
    case.comparisons = [Comparison("evaluation / training", "evaluate", "train", Goal(">", 3.0))]
    per_class = 8 if session.quick else 48
    records = _prepared(session.folder, work.classes, per_class, _EVALUATION)
    with Peers(session, case) as peers:
        group = peers.start_ranks("ours", work.spec(records=records), kind="ours.Evaluator")
        turns = {
            name: Turns(group, group.info[0]["images"][do], session.seconds, do).rate
            for name, do in (("train", "run"), ("evaluate", "evaluate"))
        }
        case.series = session.interleave(turns)
    yield case


def _prepared(folder: Path, classes: Sequence[int], per_class: int, size: int) -> dict[str, str]:
    """Draw and prepare data sets: a half for training, and a quarter each val and test.

    Returns:
        Their folders by name, ``set0``, ``set1``, ...: ``folder/records/NAME``, made of the JPEG
        files ``folder/pictures/NAME/class_K/N.jpg``.
    """
    prepared = {}
    for number, count in enumerate(classes):
        name = f"set{number}"
        pictures, records = folder / "pictures" / name, folder / "records" / name
        rng = np.random.default_rng([count, size])
        for label in range(count):
            place = pictures / f"class_{label:02d}"
            place.mkdir(parents=True)
            for picture in range(per_class):
                _draw(rng, size).save(place / f"{picture}.jpg", quality=90)
        # Noise may look like noise to the search for duplicates.
        options = ["--ratios", "0.5,0.25,0.25", "--duplicates", "allow", "--workers", "1"]
        run_tool("prepare", str(pictures), "--out", str(records), *options)
        prepared[name] = str(records)
    return prepared


def _draw(rng: np.random.Generator, size: int) -> Image.Image:
    """Return a picture of ``size`` x ``size`` pixels that shows nothing.

    It is noise of all scales, as strong at each as in photographs, so that JPEG makes a file of a
    usual size of it.
    """
    pixels = np.full((size, size, 3), 128.0)
    side = 2
    while side <= size:
        coarse = rng.normal(0, 64 / side**0.4, (side, side, 3)).astype(np.float32)
        for channel in range(3):
            image = Image.fromarray(coarse[..., channel])
            pixels[..., channel] += image.resize((size, size), Image.Resampling.BILINEAR)
        side *= 2
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))

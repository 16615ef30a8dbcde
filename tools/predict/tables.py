"""The tables of predictions: one JSON object per picture, and CSV for spreadsheets."""

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from operator import itemgetter
from typing import Any

import numpy as np

from tools.predict.windows import Floats, Pixels

DIGITS = 6
_BEST = 3
SCENE_COLUMNS = (
    *("file", "task", "class", "probability"),
    *(f"{what}_{rank}" for rank in range(1, _BEST + 1) for what in ("class", "probability")),
)
PIXEL_COLUMNS = "file", "task", "class", "share", "mask"
SKIPPED_COLUMNS = "file", "reason"


def scene_entry(classes: Sequence[str], probabilities: Floats) -> dict[str, Any]:
    """Return what is told of a scene task: its answer and the probabilities of all classes."""
    best = int(probabilities.argmax())
    values = [round(float(p), DIGITS) for p in probabilities]
    return {
        "class": classes[best],
        "probability": values[best],
        "probabilities": dict(zip(classes, values, strict=True)),
    }


def pixel_entry(classes: Sequence[str], mask: Pixels, name: str) -> dict[str, Any]:
    """Return what is told of a segmentation task: the share of every class, the mask's file."""
    counts = np.bincount(mask.ravel(), minlength=len(classes))
    values = [round(int(count) / mask.size, DIGITS) for count in counts]
    return {"shares": dict(zip(classes, values, strict=True)), "mask": name}


def line(entry: Mapping[str, Any]) -> str:
    """Return an object as one line of JSON."""
    return json.dumps(entry, ensure_ascii=False) + "\n"


def scene_rows(entry: Mapping[str, Any]) -> Iterator[list[object]]:
    """Yield the rows of a picture, one for every scene task."""
    for task, answer in entry["tasks"].items():
        if "probabilities" in answer:
            # Rounded, another may be equal to the answer.
            order = {
                name: (-p, name != answer["class"]) for name, p in answer["probabilities"].items()
            }
            ranked = [(name, -key[0]) for name, key in sorted(order.items(), key=itemgetter(1))]
            row: list[object] = [entry["file"], task, answer["class"], _text(answer["probability"])]
            for name, value in ranked[:_BEST]:
                row += [name, _text(value)]
            yield row + [""] * (len(SCENE_COLUMNS) - len(row))


def pixel_rows(entry: Mapping[str, Any]) -> Iterator[list[object]]:
    """Yield the rows of a picture, one for every class of a segmentation task."""
    for task, answer in entry["tasks"].items():
        for name, share in answer.get("shares", {}).items():
            yield [entry["file"], task, name, _text(share), answer["mask"]]


def csv_text(rows: Iterable[Iterable[object]]) -> str:
    """Return rows as CSV."""
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows(rows)
    return buffer.getvalue()


def _text(value: float) -> str:
    return f"{value:.{DIGITS}f}"

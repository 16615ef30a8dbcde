"""What an export is asked after it was loaded again, and how far it may be from the network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tools.export.subject import Answers
from train.config.schema import Config
from train.data.manifest import Manifest, RecordSet
from train.data.pipeline import stored_records, transformed_batches
from train.data.transforms import evaluation_transforms
from train.errors import UserError

TOLERANCE = 1e-4
# Classes that are nearer to each other than this may change places by rounding.
_TIE = 1e-5
_PER_SET = 8
_SEED = 7

Images = npt.NDArray[np.uint8]
Answer = npt.NDArray[Any]
Floats = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Pictures:
    """Pictures to compare with.

    Attributes:
        pixels: uint8 (n, size, size, 3).
        what: What they are.
    """

    pixels: Images
    what: str


def pictures(config: Config, sets: Sequence[RecordSet], size: int) -> Pictures:
    """Return the first validation pictures of every data set whose records are on this disk.

    Where there are none, they are noise.
    """
    parts, names = [], []
    for record_set in sets:
        pixels = _of_set(config, record_set.name, size)
        if pixels is not None:
            parts.append(pixels)
            names.append(record_set.name)
    if parts:
        pixels = np.concatenate(parts)
        return Pictures(pixels, f"{len(pixels)} validation pictures of {', '.join(names)}")
    rng = np.random.default_rng(_SEED)
    pixels = rng.integers(0, 256, (_PER_SET, size, size, 3), np.uint8)
    return Pictures(pixels, f"{_PER_SET} pictures of noise, as no records are on this disk")


def _of_set(config: Config, name: str, size: int) -> Images | None:
    folder = config.records_of(name)
    try:
        records = RecordSet(name, folder, Manifest.read(folder))
    except UserError:
        return None
    count = min(_PER_SET, records.num_records("val"))
    if not count:
        return None
    stored = stored_records(records, "val", np.arange(count))
    [batch] = transformed_batches(stored, [], evaluation_transforms(size), [], count)
    pixels: Images = batch[0]
    return pixels


@dataclass(frozen=True)
class Comparison:
    """What came of it.

    Attributes:
        pictures: Which pictures were shown; or what was compared instead.
        largest: Largest difference of what was compared.
        changed: Answers of another class, without those where two classes are as good as equal.
        total: All answers: one of a picture and scene task, and one of a pixel.
    """

    pictures: str
    largest: float
    changed: int
    total: int

    def __add__(self, other: Comparison) -> Comparison:
        """Return both as one, of the same pictures."""
        largest, changed = max(self.largest, other.largest), max(self.changed, other.changed)
        return Comparison(self.pictures, largest, changed, max(self.total, other.total))

    @property
    def holds(self) -> bool:
        """Whether the export may be used."""
        return self.largest <= TOLERANCE and not self.changed

    def __str__(self) -> str:
        if not self.total:  # nothing was asked
            return self.pictures
        answers = "the same answers" if not self.changed else f"{self.changed:,} other answers"
        return (
            f"largest difference {self.largest:.1e}, {answers} of {self.total:,}; {self.pictures}"
        )


def expected(logits: Sequence[Floats], answers: Answers) -> list[Floats]:
    """Return what an export should answer, of the network's logits (n, K, ...)."""
    return list(logits) if answers == "logits" else [softmax(x) for x in logits]


def softmax(logits: Floats) -> Floats:
    """Logits (n, K, ...) -> probabilities."""
    raised = np.exp(logits - logits.max(1, keepdims=True))
    found: Floats = raised / raised.sum(1, keepdims=True)
    return found


def compare(
    shown: str, wanted: Sequence[Floats], found: Sequence[Answer], answers: Answers
) -> Comparison:
    """Compare answers with those of the network.

    Args:
        shown: Which pictures were shown.
        wanted: Of every task, (n, K, ...) from :func:`expected`.
        found: Of every task, the same; or labels (n, ...).
        answers: What was found.
    """
    largest, changed, total = 0.0, 0, 0
    for mine, theirs in zip(wanted, found, strict=True):
        labels = theirs if answers == "labels" else theirs.argmax(1)
        shape = (len(mine), *mine.shape[2:])
        if labels.shape != shape or (answers != "labels" and theirs.shape != mine.shape):
            raise ValueError(f"answers of shape {theirs.shape} instead of {mine.shape}")
        chosen = np.take_along_axis(mine, labels[:, None].astype(np.int64), 1)[:, 0]
        changed += int((mine.max(1) - chosen > _TIE).sum())
        total += labels.size
        if answers != "labels":
            difference = np.abs(theirs - mine).max()
            # A NaN is above every bound.
            largest = max(largest, float(np.nan_to_num(difference, nan=np.inf)))
    return Comparison(shown, largest, changed, total)

"""Train records to show: chosen, and read out of the MindRecord files."""

import io
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from tools.common.console import Advance
from tools.common.stored_records import check_shards, rows
from train.data.manifest import Manifest
from train.data.records import mask_column
from train.errors import UserError

# Number of pictures among which those of classes of masks are chosen, and between two reports of
# progress.
_LOOKED_AT = 400
# A class shows in a picture if it fills at least this share of it.
_SHOWS = 0.05


@dataclass(frozen=True)
class Sample:
    """A record to show: its picture and, for every label space, its mask as (H, W) uint8."""

    image: Image.Image
    masks: tuple[npt.NDArray[np.uint8], ...]


def samples(
    folder: Path, manifest: Manifest, per_row: int, seed: int, advance: Advance = lambda count: None
) -> list[list[Sample]]:
    """Choose up to ``per_row`` train records for every row of the sheet.

    The rows are the scene classes or, where there are none, the classes of the first label space
    of masks. What is chosen depends on the data set and the seed alone, and memory on the number of
    rows.

    Raises:
        UserError: A file or a record is damaged; the message names it.
    """
    # On a damaged file MindSpore may end the process, so the digests are compared first.
    check_shards(folder, manifest, "train")
    chooser = random.Random(f"{seed}/{manifest.name}")
    if manifest.classes:
        chosen = _by_label(folder, manifest, per_row, chooser, advance)
        numbers = sorted(number for row in chosen for number in row)
        read = dict(zip(numbers, _read(folder, manifest, numbers), strict=True))
        return [[read[number] for number in row] for row in chosen]
    return _by_pixels(folder, manifest, per_row, chooser)


def _by_label(
    folder: Path, manifest: Manifest, per_row: int, chooser: random.Random, advance: Advance
) -> list[list[int]]:
    """Choose records of every scene class by number: an equal chance for each, in one pass."""
    chosen: list[list[int]] = [[] for _ in manifest.classes]
    seen = [0] * len(chosen)
    for number, row in enumerate(rows(manifest.shard_paths(folder, "train"), ["label"])):
        label = int(row["label"])
        seen[label] += 1
        if number % _LOOKED_AT == _LOOKED_AT - 1:
            advance(_LOOKED_AT)
        if len(chosen[label]) < per_row:
            chosen[label].append(number)
        elif (place := chooser.randrange(seen[label])) < per_row:
            chosen[label][place] = number
    return chosen


def _by_pixels(
    folder: Path, manifest: Manifest, per_row: int, chooser: random.Random
) -> list[list[Sample]]:
    """Choose records that show a class of the first masks, else those that show most of it."""
    total = manifest.splits["train"].records
    numbers = sorted(chooser.sample(range(total), min(total, _LOOKED_AT)))
    classes = len(next(iter(manifest.masks.values())).classes)
    chosen: list[list[tuple[float, Sample]]] = [[] for _ in range(classes)]
    for sample in _read(folder, manifest, numbers):
        counts = np.bincount(sample.masks[0].ravel(), minlength=classes)[:classes]
        for row, share in zip(chosen, counts / sample.masks[0].size, strict=True):
            if share > 0:
                row.append((min(float(share), _SHOWS), sample))
                # A stable sort: among those that show the class, the first ones stay.
                row.sort(key=lambda item: -item[0])
                del row[per_row:]
    return [[sample for _, sample in row] for row in chosen]


def _read(folder: Path, manifest: Manifest, numbers: Sequence[int]) -> Iterator[Sample]:
    columns = [mask_column(name) for name in manifest.masks]
    paths = manifest.shard_paths(folder, "train")
    for row in rows(paths, ["image", "key", *columns], numbers):
        try:
            image = Image.open(io.BytesIO(row["image"].tobytes())).convert("RGB")
            masks = [Image.open(io.BytesIO(row[column].tobytes())) for column in columns]
            yield Sample(image, tuple(np.asarray(mask, np.uint8) for mask in masks))
        except (OSError, ValueError, SyntaxError) as error:
            raise UserError(f"{folder}: {row['key']} cannot be decoded: {error}") from None

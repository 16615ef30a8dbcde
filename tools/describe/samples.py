"""Chooses train records to show, and reads them out of the MindRecord files."""

from __future__ import annotations

import io
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from tools.reading import check_shards
from train.data.manifest import Manifest
from train.data.records import mask_column
from train.errors import UserError

# Where the rows are classes of masks, the pictures are chosen among so many; and how often
# progress is told.
_LOOKED_AT = 400
# A class shows in a picture if it fills at least this share of it.
_SHOWS = 0.05


@dataclass(frozen=True)
class Sample:
    """A record to show: its picture and, for every label space, its mask as (H, W) uint8."""

    image: Image.Image
    masks: tuple[npt.NDArray[np.uint8], ...]


def samples(
    folder: Path,
    manifest: Manifest,
    per_row: int,
    seed: int,
    advance: Callable[[int], None] = lambda count: None,
) -> list[list[Sample]]:
    """Up to ``per_row`` train records for every row of the sheet.

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
        read = _read(folder, manifest, sorted(number for row in chosen for number in row))
        return [[read[number] for number in row] for row in chosen]
    return _by_pixels(folder, manifest, per_row, chooser)


def _by_label(
    folder: Path,
    manifest: Manifest,
    per_row: int,
    chooser: random.Random,
    advance: Callable[[int], None],
) -> list[list[int]]:
    """Numbers of records for every scene class: an equal chance for each in one pass."""
    rows: list[list[int]] = [[] for _ in manifest.classes]
    seen = [0] * len(rows)
    for number, row in enumerate(_rows(folder, manifest, ["label"])):
        label = int(row["label"])
        seen[label] += 1
        if number % _LOOKED_AT == _LOOKED_AT - 1:
            advance(_LOOKED_AT)
        if len(rows[label]) < per_row:
            rows[label].append(number)
        elif (place := chooser.randrange(seen[label])) < per_row:
            rows[label][place] = number
    return rows


def _by_pixels(
    folder: Path, manifest: Manifest, per_row: int, chooser: random.Random
) -> list[list[Sample]]:
    """For every class of the first masks, records that show it, else those that show most of it."""
    total = manifest.splits["train"].records
    numbers = sorted(chooser.sample(range(total), min(total, _LOOKED_AT)))
    classes = len(next(iter(manifest.masks.values())).classes)
    rows: list[list[tuple[float, Sample]]] = [[] for _ in range(classes)]
    for sample in _read_each(folder, manifest, numbers):
        counts = np.bincount(sample.masks[0].ravel(), minlength=classes)[:classes]
        for row, share in zip(rows, counts / sample.masks[0].size, strict=True):
            if share > 0:
                row.append((min(float(share), _SHOWS), sample))
                # A stable sort: among those that show the class, the first ones stay.
                row.sort(key=lambda item: -item[0])
                del row[per_row:]
    return [[sample for _, sample in row] for row in rows]


def _read(folder: Path, manifest: Manifest, numbers: Sequence[int]) -> dict[int, Sample]:
    return dict(zip(numbers, _read_each(folder, manifest, numbers), strict=True))


def _read_each(folder: Path, manifest: Manifest, numbers: Sequence[int]) -> Iterator[Sample]:
    columns = [mask_column(name) for name in manifest.masks]
    for row in _rows(folder, manifest, ["image", "key", *columns], numbers):
        try:
            image = Image.open(io.BytesIO(row["image"].tobytes())).convert("RGB")
            masks = [Image.open(io.BytesIO(row[column].tobytes())) for column in columns]
            yield Sample(image, tuple(np.asarray(mask, np.uint8) for mask in masks))
        except (OSError, ValueError, SyntaxError) as error:
            raise UserError(f"{folder}: {row['key']} cannot be decoded: {error}") from None


def _rows(
    folder: Path, manifest: Manifest, columns: list[str], numbers: Sequence[int] | None = None
) -> Iterator[dict[str, Any]]:
    import mindspore.dataset as ds

    if numbers is not None and not numbers:
        return
    chosen: dict[str, Any] = {"shuffle": False}
    if numbers is not None:
        chosen = {"sampler": ds.SubsetSampler(list(numbers))}
    data = ds.MindDataset(
        manifest.shard_paths(folder, "train"),
        columns_list=columns,
        num_parallel_workers=1,
        **chosen,
    )
    yield from data.create_dict_iterator(num_epochs=1, output_numpy=True)

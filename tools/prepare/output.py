"""The second pass: writes the shards and the table of records."""

import dataclasses
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, TextIO

import numpy as np
import numpy.typing as npt

from tools.common.catalogue import Catalogue
from tools.common.stored_records import Record, columns, line
from tools.prepare.decoded import SPOOL
from tools.prepare.shards import MAX_SHARDS, Layout, write_split
from tools.prepare.source_masks import Spaces
from train.data.manifest import LISTING, SPLITS, Listing, MaskSpace, Split
from train.data.records import NO_LABEL
from train.errors import UserError
from train.files import sha256_file

Channels = tuple[float, float, float]

# MindRecord holds 3 KB for every record of a file until it is closed.
_RECORDS_PER_SHARD = 10_000
_PICTURES = (
    "SELECT samples.id, key, class, grp, bytes, mtime, start, lengths, width, height, "
    "counts, sha256, pixels, hash FROM samples JOIN pictures USING (id) "
    "WHERE split = ? ORDER BY samples.id"
)


class Output:
    """A data set to be written out of a catalogue whose splits are known.

    Args:
        folder: The folder of the data set.
        catalogue: What is known of its pictures.
        spaces: Its label spaces of masks.

    Attributes:
        classes: Class names, sorted.
        masks: Label spaces of masks.
        extent: Smallest and largest "height" and "width" in pixels.
    """

    def __init__(self, folder: Path, catalogue: Catalogue, spaces: Spaces) -> None:
        self._folder, self._catalogue, self._spaces = folder, catalogue, spaces
        query = "SELECT DISTINCT class FROM samples WHERE class != '' ORDER BY class"
        self.classes: tuple[str, ...] = tuple(name for (name,) in catalogue.rows(query))
        self.masks = {
            name: MaskSpace(s.lookup.classes, colours=s.lookup.colours)
            for name, s in spaces.items()
        }
        self._labels = {name: label for label, name in enumerate(self.classes)} | {"": NO_LABEL}
        self.extent = {
            side: list(next(catalogue.rows(f"SELECT min({side}), max({side}) FROM pictures")))
            for side in ("height", "width")
        }

    def write(self, shards: int | None) -> tuple[dict[str, Split], Listing]:
        """Write the shards of every split, and the table of records."""
        path = self._folder / LISTING
        counts = "SELECT split, count(*) FROM samples JOIN pictures USING (id) GROUP BY split"
        totals = dict(self._catalogue.rows(counts))
        lengths = self._catalogue.rows("SELECT lengths FROM pictures")
        largest = max(sum(json.loads(text)) for (text,) in lengths)
        total = (self._catalogue.folder / SPOOL).stat().st_size
        splits = {}
        with path.open("w", encoding="utf-8", newline="") as table:
            table.write(line(columns(self._spaces)))
            for name in filter(totals.get, SPLITS):
                files = shards or min(-(-totals[name] // _RECORDS_PER_SHARD), MAX_SHARDS)
                layout = Layout.fitting(files, total, largest)
                splits[name] = self._write_split(name, totals[name], layout, table)
        return splits, Listing(path.stat().st_size, sha256_file(path))

    def _write_split(self, name: str, total: int, layout: Layout, table: TextIO) -> Split:
        pixels = {n: np.zeros(len(s.classes) + 1, np.int64) for n, s in self.masks.items()}
        with (self._catalogue.folder / SPOOL).open("rb") as spool:
            records = self._records(name, spool, table, pixels)
            labels = len(self.classes), tuple(self._spaces)
            split = write_split(self._folder, name, records, total, layout, *labels)
        return dataclasses.replace(split, pixels={n: tuple(v.tolist()) for n, v in pixels.items()})

    def _records(
        self, split: str, spool: BinaryIO, table: TextIO, pixels: dict[str, npt.NDArray[Any]]
    ) -> Iterator[Record]:
        for row in self._catalogue.rows(_PICTURES, split):
            sample, key, class_name, group, size, mtime, start, lengths, width, height = row[:10]
            counts, digests, digest, looks = row[10:]
            spool.seek(start)
            image, *masks = (spool.read(length) for length in json.loads(lengths))
            for total, counted in zip(pixels.values(), json.loads(counts), strict=True):
                total += counted
            sha256, *mask_sha256 = json.loads(digests)
            record = Record(image, self._labels[class_name], key, tuple(masks))
            what = split, key, class_name, group, width, height, record.checksum()
            own = [*what, size, mtime, sha256]
            alike = [digest, looks, *self._alike(sample)]
            table.write(line([*own, *alike, *self._mask_columns(key, mask_sha256)]))
            yield record

    def _alike(self, sample: int) -> tuple[str, str]:
        """Find the first record here, and the first in another data set, that looks the same."""
        query = (
            "SELECT owner > 0, name, prints.split, key FROM (SELECT other AS id FROM pairs "
            "WHERE one = ?1 UNION SELECT one FROM pairs WHERE other = ?1) "
            "JOIN prints USING (id) JOIN owners USING (owner) ORDER BY id"
        )
        found: dict[int, str] = {}
        for elsewhere, name, split, key in self._catalogue.rows(query, sample):
            found.setdefault(elsewhere, f"{name}/{split}/{key}" if elsewhere else key)
        return found.get(0, ""), found.get(1, "")

    def _mask_columns(self, key: str, digests: list[str]) -> Iterator[object]:
        query = "SELECT path, bytes, mtime FROM masks WHERE space = ? AND key = ?"
        for name, digest in zip(self._spaces, digests, strict=True):
            yield from next(self._catalogue.rows(query, name, key))
            yield digest


def statistics(catalogue: Catalogue, source: str) -> tuple[Channels, Channels]:
    """Return mean and standard deviation of each channel over the train pixels, on 0..1.

    Pixel sums are whole numbers, so the result is exact and does not depend on the order or the
    number of workers.

    Raises:
        UserError: A channel has the same value everywhere.
    """
    pixels, sums = 0, np.zeros((2, 3), np.int64)
    query = (
        "SELECT width * height, sums FROM samples JOIN pictures USING (id) WHERE split = 'train'"
    )
    for size, text in catalogue.rows(query):
        pixels += size
        sums += np.array(json.loads(text))
    means, stds = [], []
    for name, total, square in zip(("red", "green", "blue"), *sums.tolist(), strict=True):
        # In whole numbers up to here: the difference of two large floats would lose digits.
        spread = pixels * square - total * total
        if spread == 0:
            raise UserError(f"{source}: {name} has one value in all train pixels: nothing to learn")
        means.append(total / pixels / 255)
        stds.append(math.sqrt(spread) / pixels / 255)
    return (means[0], means[1], means[2]), (stds[0], stds[1], stds[2])

"""Records of prepared data sets: their table, records.csv, and what is stored in the shards."""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.common.command_line import refused
from train.data.inspection import shard_problem
from train.data.manifest import LISTING, MANIFEST, Manifest
from train.data.records import checksum, mask_column
from train.errors import UserError
from train.files import sha256_file

COLUMNS = (
    # What the record is; width and height of the stored picture; crc of the record.
    *("split", "key", "class", "group", "width", "height", "crc"),
    # The file that it was made of.
    *("source_bytes", "source_mtime_ns", "source_sha256"),
    # Digest of the pixels before they were stored; what the picture looks like (see
    # duplicates/fingerprint.py), empty for one of one colour.
    *("pixels", "hash"),
    # Another record that looks the same, and one in another data set.
    *("alike", "alike_elsewhere"),
)
# For every label space of masks: its file, and what is known of it.
MASK_COLUMNS = ("file", "bytes", "mtime_ns", "sha256")


def columns(masks: Iterable[str]) -> list[str]:
    """Return the columns of the table of a data set with these label spaces of masks."""
    return [*COLUMNS, *(f"mask_{name}_{column}" for name in masks for column in MASK_COLUMNS)]


def line(values: Iterable[object]) -> str:
    """Return one line of the table."""
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerow(values)
    return buffer.getvalue()


def check_table(folder: Path, manifest: Manifest) -> None:
    """Raise a UserError if the table is not the one that was written."""
    path = folder / LISTING
    with refused(path):
        size = path.stat().st_size
        if size == manifest.listing.bytes and sha256_file(path) == manifest.listing.sha256:
            return
    raise UserError(f"{path}: damaged: not what {MANIFEST} says")


def read_table(folder: Path) -> Iterator[dict[str, str]]:
    """Yield the rows of the table."""
    with (folder / LISTING).open(newline="", encoding="utf-8") as file:
        yield from csv.DictReader(file)


@dataclass(frozen=True)
class Record:
    """A record of a shard.

    Attributes:
        image: Encoded picture, JPEG or PNG.
        label: Position of its class in ``Manifest.classes``, or -1.
        key: Path of the picture relative to its source folder, with ``/``.
        masks: Its masks, encoded as PNG, in the order of the label spaces.
        crc: Its checksum as stored; None if it is yet to be written.
    """

    image: bytes
    label: int
    key: str
    masks: tuple[bytes, ...] = ()
    crc: int | None = None

    def checksum(self) -> int:
        """Return what ``crc`` has to be."""
        return checksum(self.label, self.key, self.image, self.masks)

    def size(self) -> int:
        """Return the bytes of the image and the masks."""
        return len(self.image) + sum(map(len, self.masks))


def read(paths: Sequence[str], masks: Sequence[str] = ()) -> Iterator[Record]:
    """Yield all records of some shards, which must be whole, in their order."""
    for row in rows(paths):
        yield Record(
            row["image"].tobytes(),
            int(row["label"]),
            str(row["key"]),
            tuple(row[mask_column(name)].tobytes() for name in masks),
            int(row["crc"]),
        )


def rows(
    paths: Sequence[str], columns: Sequence[str] | None = None, numbers: Sequence[int] | None = None
) -> Iterator[dict[str, Any]]:
    """Yield records of some shards as numpy arrays by column.

    Args:
        paths: The shards, which must be whole: on damaged ones MindSpore may end the process.
        columns: What is read of each record; None: everything.
        numbers: Which records, in the order in which they come; None: all.
    """
    import mindspore.dataset as ds

    if numbers is not None and not numbers:
        return
    order = {"shuffle": False} if numbers is None else {"sampler": ds.SubsetSampler(list(numbers))}
    data = ds.MindDataset(list(paths), columns_list=columns, num_parallel_workers=1, **order)
    yield from data.create_dict_iterator(num_epochs=1, output_numpy=True)


def check_shards(folder: Path, manifest: Manifest, split: str) -> None:
    """Raise a UserError that names a damaged shard of the split, if there is one."""
    for shard in manifest.splits[split].shards:
        if (why := shard_problem(folder, shard)) is not None:
            raise UserError(f"{folder}: damaged: {why}")

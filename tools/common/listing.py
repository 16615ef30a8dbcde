"""records.csv: the table of all records of a prepared data set, in their order."""

import csv
import io
from collections.abc import Iterable, Iterator
from pathlib import Path

from tools.common.command_line import refused
from train.data.manifest import LISTING, MANIFEST, Manifest
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
    """Return the columns of a data set with these label spaces of masks."""
    return [*COLUMNS, *(f"mask_{name}_{column}" for name in masks for column in MASK_COLUMNS)]


def line(values: Iterable[object]) -> str:
    """Return one line of the table."""
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerow(values)
    return buffer.getvalue()


def check(folder: Path, manifest: Manifest) -> None:
    """Raise a UserError if the table is not the one that was written."""
    path = folder / LISTING
    with refused(path):
        size = path.stat().st_size
        if size == manifest.listing.bytes and sha256_file(path) == manifest.listing.sha256:
            return
    raise UserError(f"{path}: damaged: not what {MANIFEST} says")


def read(folder: Path) -> Iterator[dict[str, str]]:
    """Yield the rows of the table."""
    with (folder / LISTING).open(newline="", encoding="utf-8") as file:
        yield from csv.DictReader(file)

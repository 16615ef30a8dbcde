"""records.csv: the table of all records of a prepared data set, in their order."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from pathlib import Path

from train.data.manifest import LISTING, MANIFEST, Manifest
from train.errors import UserError
from train.files import sha256_file

# split, key, class, group: what the record is. width, height: of the stored picture. crc: of the
# record. source_*: the file that it was made of. pixels: digest of the pixels before they were
# stored; hash: what it looks like (see tools.fingerprint), empty for a picture of one colour.
# alike: another record that looks the same; alike_elsewhere: one in another data set.
COLUMNS = (
    "split",
    "key",
    "class",
    "group",
    "width",
    "height",
    "crc",
    "source_bytes",
    "source_mtime_ns",
    "source_sha256",
    "pixels",
    "hash",
    "alike",
    "alike_elsewhere",
)
# For every label space of masks: its file, and what is known of it.
MASK_COLUMNS = ("file", "bytes", "mtime_ns", "sha256")


def columns(masks: Mapping[str, object]) -> list[str]:
    """The columns of a data set with these label spaces of masks."""
    return [*COLUMNS, *(f"mask_{name}_{column}" for name in masks for column in MASK_COLUMNS)]


def line(values: object) -> str:
    """One line of the table."""
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerow(values)  # type: ignore[arg-type]
    return buffer.getvalue()


def check(folder: Path, manifest: Manifest) -> None:
    """Raises a UserError if the table is not the one that was written."""
    path = folder / LISTING
    try:
        size = path.stat().st_size
        if size == manifest.listing.bytes and sha256_file(path) == manifest.listing.sha256:
            return
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
    raise UserError(f"{path}: damaged: not what {MANIFEST} says")


def read(folder: Path) -> Iterator[dict[str, str]]:
    """The rows of the table, one at a time."""
    with (folder / LISTING).open(newline="", encoding="utf-8") as file:
        yield from csv.DictReader(file)

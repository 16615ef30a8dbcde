"""Which records are damaged: found by digests and checksums, or by decoding, and named."""

import contextlib
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.train.data.spoil import contents, declare_whole, spoil_record
from train.data.inspection import damaged_records, read_around, undecodable_records
from train.data.manifest import RecordSet

# All in the first shard: a shard that is damaged is read in a process that takes seconds to start.
BAD = {4: "image", 5: "image", 11: "mask_mask"}


def test_records_are_found_by_their_checksum_and_named(coast: RecordSet) -> None:
    names = {n: spoil_record(coast, "train", n, column) for n, column in BAD.items()}
    assert list(damaged_records(coast, "val")) == []
    assert list(damaged_records(coast, "train")) == [
        (number, f"coast: record {number} of train ({key}) in {shard}: its checksum differs")
        for number, (key, shard) in names.items()
    ]


def change_label(coast: RecordSet) -> None:
    """Of record 3, in the shard: where MindSpore takes it from if it reads images too."""
    key = str(contents(coast, "train", "key")[3]).encode()
    change_shard(coast, key + b"\xa5label\x00", key + b"\xa5label\x01")


def change_key(coast: RecordSet) -> None:
    key = str(contents(coast, "train", "key")[3]).encode()
    change_shard(coast, key + b"\xa5label", key[:-1] + b"x\xa5label")


def change_shard(coast: RecordSet, old: bytes, new: bytes) -> None:
    [(first, _), _] = coast.shards("train")
    path = coast.folder / first.file
    content = path.read_bytes()
    assert content.count(old) == 1
    path.write_bytes(content.replace(old, new))


def change_index(coast: RecordSet, statement: str) -> str:
    """Changes the index of the first shard; its name."""
    [(first, _), _] = coast.shards("train")
    index = coast.folder / f"{first.file}.db"
    with contextlib.closing(sqlite3.connect(index)) as database, database:
        database.execute("CREATE TEMP TABLE was AS SELECT * FROM INDEXES")
        database.execute(statement)
    return index.name


def swapped(*kinds: str) -> str:
    """A statement that swaps where parts of the records 1 and 2 lie."""
    places = ("PAGE_ID_{}", "PAGE_OFFSET_{}", "PAGE_OFFSET_{}_END")
    columns = ", ".join(place.format(kind) for kind in kinds for place in places)
    return (
        f"UPDATE INDEXES SET ({columns}) = (SELECT {columns} FROM was "
        "WHERE was.ROW_ID = 3 - INDEXES.ROW_ID) WHERE ROW_ID IN (1, 2)"
    )


@pytest.mark.parametrize(
    ("change", "numbers"),
    [
        (change_label, [3]),
        (change_key, [3]),
        (lambda coast: change_index(coast, swapped("BLOB")), [1, 2]),
    ],
    ids=["label", "key", "images and masks of two records"],
)
def test_what_a_record_says_is_covered_as_its_images_are(
    coast: RecordSet, change: Callable[[RecordSet], object], numbers: list[int]
) -> None:
    change(coast)
    damages = dict(damaged_records(coast, "train"))
    assert list(damages) == numbers
    assert all(line.endswith(": its checksum differs") for line in damages.values())


@pytest.mark.parametrize(
    "change",
    [swapped("RAW", "BLOB"), "UPDATE INDEXES SET label_0 = 1"],
    ids=["two whole records have changed places", "labels in the index alone"],
)
def test_a_shard_that_differs_is_damaged_although_all_its_records_are_whole(
    coast: RecordSet, change: str
) -> None:
    [(_, of_first), *_] = coast.shards("train")
    index = change_index(coast, change)
    damages = dict(damaged_records(coast, "train"))
    assert list(damages) == list(of_first)
    ending = f"{index} has another sha256, although the checksums of all its records are right"
    assert all(line.endswith(ending) for line in damages.values())


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5000])


def garble(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[8:4096] = b"\x5a" * 4088
    path.write_bytes(bytes(content))


@pytest.mark.parametrize("harm", [truncate, garble, Path.unlink], ids=["cut", "header", "gone"])
@pytest.mark.parametrize("suffix", ["", ".db"], ids=["shard", "index"])
def test_a_shard_that_cannot_be_read_takes_all_its_records(
    coast: RecordSet, harm: Callable[[Path], None], suffix: str
) -> None:
    [(first, of_first), _] = coast.shards("train")
    path = coast.folder / f"{first.file}{suffix}"
    harm(path)
    damages = dict(damaged_records(coast, "train"))
    assert list(damages) == list(of_first)
    for number, line in damages.items():
        assert line.startswith(f"coast: record {number} of train in {first.file}: {path.name}")


@pytest.mark.parametrize("column", ["image", "mask_mask"])
def test_an_image_or_mask_that_cannot_be_decoded_although_its_shard_is_whole(
    coast: RecordSet, column: str
) -> None:
    _, shard = spoil_record(coast, "train", 7, column)
    coast = declare_whole(coast)
    assert list(damaged_records(coast, "train")) == []
    [(number, line)] = undecodable_records(coast, "train", [2, 7, 9, 20])
    assert number == 7
    assert line == f"coast: record 7 of train in {shard}: its image cannot be decoded"


def test_reading_around_finds_the_few_that_fail() -> None:
    read: set[int] = set()

    def reader(numbers: Any) -> None:
        if set(numbers) & {3, 77, 500}:
            raise RuntimeError("cannot")
        read.update(numbers)

    assert set(read_around(range(1000), reader)) == read
    assert set(range(1000)) - read == {3, 77, 500}

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


def test_labels_that_have_changed_are_damage_although_all_pictures_are_whole(
    coast: RecordSet,
) -> None:
    [(first, of_first), *_] = coast.shards("train")
    index = coast.folder / f"{first.file}.db"  # where MindSpore takes labels from
    with contextlib.closing(sqlite3.connect(index)) as database, database:
        database.execute("UPDATE INDEXES SET label_0 = 1")
    labels = [int(label) for label in contents(coast, "train", "label")]
    assert set(labels[: len(of_first)]) == {1}
    damages = dict(damaged_records(coast, "train"))
    assert list(damages) == list(of_first)
    ending = f"in {first.file}: {index.name} has another sha256: labels or keys of some records"
    assert all(ending in line for line in damages.values())


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

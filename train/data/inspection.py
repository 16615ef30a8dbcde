"""Finds out which records of a prepared data set are damaged.

A shard whose digests are those of the manifest is whole. Of another one every record is read and
compared with its own checksum, so that it is known which can still be used.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from train.data.record_set import RecordSet
from train.data.records import Shard
from train.data.salvage import read_around, salvage
from train.files import sha256_file


@dataclass(frozen=True)
class Damage:
    """A record that cannot be used.

    Attributes:
        dataset: Name of its data set.
        split: Its split.
        shard: File name of its shard.
        record: Its number in the split.
        key: Path of the picture it was made of; empty if that cannot be read any more.
        reason: What is wrong.
    """

    dataset: str
    split: str
    shard: str
    record: int
    key: str
    reason: str

    def __str__(self) -> str:
        key = f" ({self.key})" if self.key else ""
        return (
            f"{self.dataset}: record {self.record} of {self.split}{key} in {self.shard}: "
            f"{self.reason}"
        )


def damaged_records(record_set: RecordSet, split: str) -> Iterator[Damage]:
    """The records of a split that are not what they were when they were prepared."""
    for shard, numbers in record_set.shards(split):
        if (problem := shard_problem(record_set.folder, shard)) is None:
            continue
        found = salvage(record_set.folder, shard, list(record_set.manifest.masks))
        for position, number in enumerate(numbers):
            key, whole = found.get(position, ("", None))
            if not whole:
                reason = problem if whole is None else "its checksum differs"
                yield Damage(record_set.name, split, shard.file, number, key, reason)


def undecodable_records(
    record_set: RecordSet,
    split: str,
    numbers: Sequence[int],
    read: Callable[[Sequence[int]], None],
) -> Iterator[Damage]:
    """The records among ``numbers`` that ``read`` fails on, although their shards are whole."""
    done: set[int] = set()

    def note(part: Sequence[int]) -> None:
        read(part)
        done.update(part)

    read_around(numbers, note)
    for shard, in_shard in record_set.shards(split):
        for number in sorted({n for n in numbers if n in in_shard} - done):
            yield Damage(
                record_set.name, split, shard.file, number, "", "its image cannot be decoded"
            )


def shard_problem(folder: Path, shard: Shard) -> str | None:
    """Why a shard is not the one that was written, or None if it is."""
    for name, size, digest in (
        (shard.file, shard.bytes, shard.sha256),
        (f"{shard.file}.db", shard.index_bytes, shard.index_sha256),
    ):
        try:
            actual = (folder / name).stat().st_size
            if actual != size:
                return f"{name} has {actual} bytes instead of {size}"
            if sha256_file(folder / name) != digest:
                return f"{name} has another sha256"
        except OSError as error:
            return f"{name}: {error.strerror or error}"
    return None

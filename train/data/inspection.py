"""Finds out which records of a prepared data set are damaged.

A shard whose digests are those of the manifest is whole. Of another one every record is read and
compared with its own checksum, so that it is known which can still be used.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import mindspore.dataset as ds

from train.data.record_set import RecordSet
from train.data.records import Shard, checksum, mask_column
from train.files import sha256_file

# Reading is tried so often to get around what cannot be read; what is left then counts as damaged.
_MOST_TRIES = 200


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
        if (problem := _problem(record_set.folder, shard)) is None:
            continue
        contents = _Contents(record_set, shard)
        read_around(range(shard.records), contents.read)
        for offset, number in enumerate(numbers):
            key, whole = contents.found.get(offset, ("", None))
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


def read_around(numbers: Sequence[int], read: Callable[[Sequence[int]], None]) -> None:
    """Reads as many as possible of ``numbers``, by halving whatever cannot be read at once."""
    waiting = [numbers]
    for _ in range(_MOST_TRIES):
        if not waiting:
            return
        part = waiting.pop()
        try:
            read(part)
        except Exception:  # anything may come out of a damaged file
            if len(part) > 1:
                half = len(part) // 2
                waiting += [part[half:], part[:half]]


def _problem(folder: Path, shard: Shard) -> str | None:
    for name, expected in (
        (shard.file, shard.sha256),
        (f"{shard.file}.db", shard.index_sha256),
    ):
        try:
            digest = sha256_file(folder / name)
        except OSError as error:
            return f"{folder / name}: {error.strerror or error}"
        if digest != expected:
            return f"{folder / name} is not what it was when it was prepared"
    return None


@dataclass
class _Contents:
    """What could be read of a shard.

    Attributes:
        record_set: Its data set.
        shard: The shard.
        found: Number in the shard -> (key, whether the checksum is right).
    """

    record_set: RecordSet
    shard: Shard
    found: dict[int, tuple[str, bool]] = field(default_factory=dict)

    def read(self, offsets: Sequence[int]) -> None:
        """Reads some records."""
        masks = [mask_column(name) for name in self.record_set.manifest.masks]
        rows = ds.MindDataset(
            [str(self.record_set.folder / self.shard.file)],
            columns_list=["image", "key", "crc", *masks],
            sampler=ds.SubsetSampler(list(offsets)),
            num_parallel_workers=1,
        )
        iterator = rows.create_tuple_iterator(num_epochs=1, output_numpy=True)
        for offset, (image, key, crc, *others) in zip(offsets, iterator, strict=True):
            self.found[offset] = str(key), checksum(image, others) == int(crc)

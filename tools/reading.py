"""Reads records of prepared data sets back, whole splits or chosen ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from train.data.inspection import shard_problem
from train.data.manifest import Manifest
from train.data.records import mask_column
from train.errors import UserError


@dataclass(frozen=True)
class Stored:
    """A record as it stands in a shard."""

    image: bytes
    label: int
    key: str
    crc: int
    masks: tuple[bytes, ...]


def read(paths: Sequence[str], masks: Sequence[str] = ()) -> Iterator[Stored]:
    """Yields all records of some shards, in their order.

    The files must be whole: on damaged ones MindSpore may end the process.
    """
    import mindspore.dataset as ds

    columns = [mask_column(name) for name in masks]
    data = ds.MindDataset(list(paths), shuffle=False, num_parallel_workers=1)
    for row in data.create_dict_iterator(num_epochs=1, output_numpy=True):
        yield Stored(
            row["image"].tobytes(),
            int(row["label"]),
            str(row["key"]),
            int(row["crc"]),
            tuple(row[column].tobytes() for column in columns),
        )


def read_images(paths: Sequence[str], numbers: Sequence[int]) -> Iterator[bytes]:
    """Yields the encoded pictures of chosen records, in the order of ``numbers``."""
    import mindspore.dataset as ds

    data = ds.MindDataset(
        list(paths),
        columns_list=["image"],
        sampler=ds.SubsetSampler(list(numbers)),
        num_parallel_workers=1,
    )
    for row in data.create_dict_iterator(num_epochs=1, output_numpy=True):
        yield row["image"].tobytes()


def check_shards(folder: Path, manifest: Manifest, split: str) -> None:
    """Raises a UserError that names a damaged shard of the split, if there is one."""
    for shard in manifest.splits[split].shards:
        why = shard_problem(folder, shard)
        if why is not None:
            raise UserError(f"{folder}: damaged: {why}")

"""Records of prepared data sets, read back as they are stored."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
    """Yield all records of some shards, in their order.

    The files must be whole: on damaged ones MindSpore may end the process.
    """
    for row in rows(paths):
        yield Stored(
            row["image"].tobytes(),
            int(row["label"]),
            str(row["key"]),
            int(row["crc"]),
            tuple(row[mask_column(name)].tobytes() for name in masks),
        )


def rows(
    paths: Sequence[str], columns: Sequence[str] | None = None, numbers: Sequence[int] | None = None
) -> Iterator[dict[str, Any]]:
    """Yield records of some shards, which must be whole, as numpy arrays by column.

    Args:
        paths: The shards.
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
        why = shard_problem(folder, shard)
        if why is not None:
            raise UserError(f"{folder}: damaged: {why}")

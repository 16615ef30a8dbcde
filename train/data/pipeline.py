"""Datasets over the MindRecord shards of a split, and over decoded images in memory."""

from collections.abc import Sequence
from typing import Any

import mindspore.dataset as ds
import numpy as np
import numpy.typing as npt

from train.data.record_set import RecordSet
from train.data.records import mask_column

Records = npt.NDArray[np.int64]
Array = npt.NDArray[Any]


def stored_records(
    record_set: RecordSet, split: str, records: Records, masks: Sequence[str] = ()
) -> ds.Dataset:
    """The given records in this order, with the columns image, label and those of the masks."""
    paths, positions, total = needed_shards(record_set, split, records)
    columns = ["image", "label", *map(mask_column, masks)]
    # A sampler takes at most as many indices as there are records: more come in pieces.
    pieces = [
        # One worker a stage: ranks share the cores, and small images decode faster than they train.
        ds.MindDataset(
            paths,
            columns_list=columns,
            sampler=ds.SubsetSampler(positions[i : i + total].tolist()),
            num_parallel_workers=1,
        )
        for i in range(0, len(positions), total)
    ]
    dataset = pieces[0]
    for piece in pieces[1:]:
        dataset = dataset + piece
    return dataset


def needed_shards(
    record_set: RecordSet, split: str, records: Records
) -> tuple[list[str], Records, int]:
    """Paths of the shards that hold the records, the records' positions in them, their total.

    MindDataset opens every shard that it is given: one that has vanished must not be among them.
    """
    shards = list(record_set.shards(split))
    first = np.array([numbers.start for _, numbers in shards])
    shard_of = np.searchsorted(first, records, side="right") - 1
    used = np.unique(shard_of)
    sizes = np.array([shards[i][0].records for i in used])
    start = np.zeros(len(shards), np.int64)
    start[used] = np.cumsum(sizes) - sizes
    paths = [str(record_set.folder / shards[i][0].file) for i in used]
    return paths, records - first[shard_of] + start[shard_of], int(sizes.sum())


def decoded_records(
    rows: Sequence[tuple[Array, ...]], records: Records, masks: Sequence[str] = ()
) -> ds.Dataset:
    """The same, out of rows (image, label, masks ...) in memory."""
    return ds.GeneratorDataset(
        _Chosen(rows, records),
        ["image", "label", *map(mask_column, masks)],
        shuffle=False,
        num_parallel_workers=1,
    )


class _Chosen:
    """Some of the rows, in an order of their own."""

    def __init__(self, rows: Sequence[tuple[Array, ...]], records: Records) -> None:
        self._rows = rows
        self._records = records

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, position: int) -> tuple[Array, ...]:
        return self._rows[int(self._records[position])]

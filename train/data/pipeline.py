"""The pipelines of MindSpore over the records of a data set, and what comes out of them."""

from collections.abc import Iterator, Sequence
from typing import Any

import mindspore.dataset as ds
import numpy as np
import numpy.typing as npt
from mindspore.dataset import vision

from train.data.batch import Array
from train.data.manifest import RecordSet
from train.data.records import mask_column

Records = npt.NDArray[np.int64]
# Images, labels and masks of one data set, an array each.
Columns = tuple[Array, ...]
Operators = list[Any]


def stored_records(
    record_set: RecordSet, split: str, records: Records, masks: Sequence[str] = ()
) -> ds.Dataset:
    """Return the given records in this order, with the columns image, label and those of masks."""
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


def record_keys(record_set: RecordSet, split: str, records: Records) -> list[str]:
    """Return the keys of records: the paths of their pictures."""
    paths, positions, _ = needed_shards(record_set, split, records)
    sampler = ds.SubsetSampler(positions.tolist())
    rows = ds.MindDataset(paths, ["key"], 1, sampler=sampler)
    return [str(key) for (key,) in rows.create_tuple_iterator(num_epochs=1, output_numpy=True)]


def needed_shards(
    record_set: RecordSet, split: str, records: Records
) -> tuple[list[str], Records, int]:
    """Return paths of the shards that hold the records, the positions in them, and their total.

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


def transformed_batches(
    records: ds.Dataset,
    masks: Sequence[str],
    of_images: Operators,
    of_masks: Operators,
    size: int,
    drop_remainder: bool = False,
) -> Iterator[Columns]:
    """Start a pipeline that transforms records and puts them together, ``size`` at a time.

    Returns:
        Images, uint8 (n, H, W, 3); labels, int32 (n,); masks, uint8 (n, H, W).
    """
    pipeline = records.map(of_images, "image", num_parallel_workers=1)
    for column in map(mask_column, masks):
        pipeline = pipeline.map(of_masks, column, num_parallel_workers=1)
    pipeline = pipeline.batch(size, drop_remainder)
    rows = pipeline.create_tuple_iterator(num_epochs=1, output_numpy=True)
    return (
        (images, labels.reshape(-1), *(np.ascontiguousarray(m[..., 0]) for m in channels))
        for images, labels, *channels in rows
    )


def decoded_records(
    record_set: RecordSet, split: str, records: Sequence[int], masks: Sequence[str]
) -> Iterator[Columns]:
    """Start a pipeline that decodes records and changes nothing else: batches of one each."""
    stored = stored_records(record_set, split, np.asarray(records), masks)
    return transformed_batches(stored, masks, [vision.Decode()], [vision.Decode()], 1)

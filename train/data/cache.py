"""Decoded training images kept in memory (``cache: ram``)."""

from collections.abc import Iterator, Mapping, Sequence

import mindspore.dataset as ds
import numpy as np

from train.data.batch import Array
from train.data.damage import DamageWatch
from train.data.manifest import RecordSet
from train.data.pipeline import Records, decoded_records
from train.data.records import mask_column

# Image, uint8 (H, W, 3); label, int32 (1,); masks, uint8 (H, W, 1).
Row = tuple[Array, ...]


def choose_cached(
    sets: Sequence[RecordSet], masks: Mapping[str, Sequence[str]], budget: int
) -> list[str]:
    """Return the data sets whose images, and these masks, fit into ``budget`` bytes together."""
    sizes = {}  # the smallest come first
    for record_set in sets:
        height, width = (record_set.manifest.image[side][1] for side in ("height", "width"))
        channels = 3 + len(masks.get(record_set.name, ()))
        sizes[record_set.name] = record_set.num_records("train") * height * width * channels
    chosen = []
    for name in sorted(sizes, key=lambda name: sizes[name]):
        if sizes[name] <= budget:
            chosen.append(name)
            budget -= sizes[name]
    return chosen


def decode_all(record_set: RecordSet, masks: Sequence[str], watch: DamageWatch) -> list[Row]:
    """Decode all training images of a data set, with these masks: a row for every record.

    Raises:
        UserError: Some records are damaged, or cannot be read for another reason.
    """
    numbers = range(record_set.num_records("train"))
    try:
        return [
            (images[0], labels, *(mask[0, ..., None] for mask in of_masks))
            for images, labels, *of_masks in decoded_records(record_set, "train", numbers, masks)
        ]
    except (RuntimeError, ValueError) as error:
        watch.diagnose(record_set, "train", np.array(numbers), error)
        raise watch.error("nothing was trained") from None


def cached_records(
    rows: Sequence[Row], records: Records, masks: Sequence[str] = ()
) -> ds.GeneratorDataset:
    """Return a dataset of these records in this order: image, label, masks, decoded."""
    columns = ["image", "label", *map(mask_column, masks)]

    def chosen() -> Iterator[Row]:
        return (rows[number] for number in records.tolist())

    return ds.GeneratorDataset(chosen, columns, shuffle=False, num_parallel_workers=1)

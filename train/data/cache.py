"""Decoded training images kept in memory (``cache: ram``)."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from mindspore.dataset import vision

from train.data.damage import DamageWatch, NothingLeft
from train.data.pipeline import stored_records
from train.data.record_set import RecordSet
from train.data.records import mask_column

Row = tuple[npt.NDArray[Any], ...]

_CHANNELS = 3


def choose_cached(
    sets: Sequence[RecordSet], masks: Mapping[str, Sequence[str]], budget: int
) -> list[str]:
    """The data sets whose training images fit into memory together, the smallest first.

    Args:
        sets: The data sets.
        masks: Label spaces of the masks that are kept too, per data set.
        budget: Bytes that the images may take.
    """
    sizes = {s.name: _bytes_at_most(s, len(masks.get(s.name, ()))) for s in sets}
    chosen = []
    for name in sorted(sizes, key=lambda name: sizes[name]):
        if sizes[name] <= budget:
            chosen.append(name)
            budget -= sizes[name]
    return chosen


def _bytes_at_most(record_set: RecordSet, num_masks: int) -> int:
    image = record_set.manifest.image
    pixels: int = image["height"][1] * image["width"][1]
    return record_set.num_records("train") * pixels * (_CHANNELS + num_masks)


def decode_all(record_set: RecordSet, masks: Sequence[str], watch: DamageWatch) -> list[Row]:
    """Decodes the training images of a data set.

    Returns:
        For every record: image, uint8 (H, W, 3); label; masks, uint8 (H, W, 1). Damaged records
        have the content of the whole ones that stand in for them.

    Raises:
        UserError: The records cannot be read, or all of them are damaged.
    """
    while True:
        try:
            numbers = np.arange(record_set.num_records("train"))
            chosen = watch.whole(record_set, "train", numbers)
            return _decode(record_set, chosen.tolist(), masks)
        except NothingLeft:
            raise watch.nothing_left(record_set) from None
        except (RuntimeError, ValueError) as error:

            def read(records: Sequence[int]) -> None:
                _decode(record_set, records, masks)

            watch.diagnose(record_set, "train", chosen, read, error)


def _decode(record_set: RecordSet, records: Sequence[int], masks: Sequence[str]) -> list[Row]:
    pipeline = stored_records(record_set, "train", np.asarray(records), masks)
    for column in ("image", *map(mask_column, masks)):
        pipeline = pipeline.map(vision.Decode(), column, num_parallel_workers=1)
    return [
        (image, label, *(np.ascontiguousarray(m[:, :, :1]) for m in stored))
        for image, label, *stored in pipeline.create_tuple_iterator(num_epochs=1, output_numpy=True)
    ]

"""Evaluation batches: over all ranks every record exactly once, all batches of one shape."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from train.data.batch import Array, Batch, BatchLayout, DatasetPart
from train.data.damage import DamageWatch
from train.data.pipeline import Records, stored_records
from train.data.record_set import RecordSet
from train.data.records import IGNORE_INDEX, NO_LABEL, mask_column
from train.data.sampler import evaluation_records
from train.data.transforms import evaluation_mask_transforms, evaluation_transforms

# Images, labels and masks of one data set.
_Columns = tuple[Array, ...]


class EvaluationLoader:
    """The evaluation batches of one rank: over all ranks, every whole record exactly once.

    Args:
        sets: The data sets, in the order of the mixed batch.
        size: Height and width in pixels.
        images: Images per rank and batch. They are divided among the data sets by their number of
            records, so that all come to their end at about the same time.
        watch: Knows the damaged records.
        rank: This rank.
        world_size: Number of ranks.
        masks: Label spaces of masks that are wanted, per data set.
    """

    def __init__(
        self,
        sets: Sequence[RecordSet],
        size: int,
        images: int,
        watch: DamageWatch,
        rank: int,
        world_size: int,
        masks: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        self.sets = sets
        self.size = size
        self.watch = watch
        self.rank = rank
        self.world_size = world_size
        self.masks = {s.name: tuple((masks or {}).get(s.name, ())) for s in sets}
        self.layout = BatchLayout([s.name for s in sets], self.masks)
        held_out = [max(s.num_records("val"), s.num_records("test"), 1) for s in sets]
        self.slots = [max(1, round(images * n / sum(held_out))) for n in held_out]

    def batches(self, split: str) -> Iterator[Batch]:
        """All batches of a split, padded to one shape.

        Padded images have the label :data:`NO_LABEL` and :data:`IGNORE_INDEX` all over their masks.
        """
        parts = [
            self._dataset_batches(s, split, slots)
            for s, slots in zip(self.sets, self.slots, strict=True)
        ]
        # Data sets that have come to their end are padded until all have.
        empty = [self._padding(s, slots) for s, slots in zip(self.sets, self.slots, strict=True)]
        while True:
            batch = [next(part, None) for part in parts]
            if all(b is None for b in batch):
                return
            filled = [b or e for b, e in zip(batch, empty, strict=True)]
            yield self.layout.pack(
                [DatasetPart(images, labels, masks) for images, labels, *masks in filled]
            )

    def _dataset_batches(self, record_set: RecordSet, split: str, slots: int) -> Iterator[_Columns]:
        total = record_set.num_records(split)
        due = evaluation_records(total, self.rank, self.world_size)
        while True:
            due = due[~np.isin(due, self.watch.bad(record_set, split))]
            if not len(due):
                return
            try:
                for batch in self._decoded(record_set, split, due, slots):
                    yield self._pad(record_set, batch, slots)
                    due = due[slots:]
                return
            except (RuntimeError, ValueError) as error:
                self._diagnose(record_set, split, due, error)

    def _decoded(
        self, record_set: RecordSet, split: str, records: Records, slots: int
    ) -> Iterator[_Columns]:
        masks = self.masks[record_set.name]
        pipeline = stored_records(record_set, split, records, masks)
        operators = evaluation_transforms(self.size)
        pipeline = pipeline.map(operators, "image", num_parallel_workers=1)
        for column in map(mask_column, masks):
            operators = evaluation_mask_transforms(self.size)
            pipeline = pipeline.map(operators, column, num_parallel_workers=1)
        pipeline = pipeline.batch(slots)
        iterator: Iterator[_Columns] = pipeline.create_tuple_iterator(
            num_epochs=1, output_numpy=True
        )
        return iterator

    def _diagnose(self, record_set: RecordSet, split: str, due: Records, error: Exception) -> None:
        def read(records: Sequence[int]) -> None:
            for _ in self._decoded(record_set, split, np.asarray(records), 1):
                pass

        self.watch.diagnose(record_set, split, due, read, error)

    def _pad(self, record_set: RecordSet, batch: _Columns, slots: int) -> _Columns:
        """Fills up a batch of a data set; masks come as (n, H, W, 3)."""
        images, labels, *masks = batch
        padded = self._padding(record_set, slots)
        for whole, part in zip(padded, (images, labels, *(m[..., 0] for m in masks)), strict=True):
            whole[: len(part)] = part
        return padded

    def _padding(self, record_set: RecordSet, slots: int) -> _Columns:
        """A batch of a data set without any record."""
        side = self.size
        return (
            np.zeros((slots, side, side, 3), np.uint8),
            np.full(slots, NO_LABEL, np.int32),
            *(
                np.full((slots, side, side), IGNORE_INDEX, np.uint8)
                for _ in self.masks[record_set.name]
            ),
        )

"""Evaluation batches: over all ranks every record exactly once, all batches of one shape."""

from collections.abc import Iterator, Sequence

import numpy as np

from train.data.damage import DamageWatch
from train.data.pipeline import Array, Records, stored_records
from train.data.record_set import RecordSet
from train.data.sampler import evaluation_records
from train.data.transforms import evaluation_transforms

# The images of every data set, uint8 (n_d, H, W, 3), then their labels, int32 (n_d,), where n_d is
# the same in all batches.
Batch = tuple[Array, ...]

# Label of the images that fill up a batch.
PADDING = -1


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
    """

    def __init__(
        self,
        sets: Sequence[RecordSet],
        size: int,
        images: int,
        watch: DamageWatch,
        rank: int,
        world_size: int,
    ) -> None:
        self.sets = sets
        self.size = size
        self.watch = watch
        self.rank = rank
        self.world_size = world_size
        held_out = [max(s.num_records("val"), s.num_records("test"), 1) for s in sets]
        self.slots = [max(1, round(images * n / sum(held_out))) for n in held_out]

    def batches(self, split: str) -> Iterator[Batch]:
        """All batches of a split, padded to one shape; padded images have the label -1."""
        parts = [
            self._dataset_batches(s, split, slots)
            for s, slots in zip(self.sets, self.slots, strict=True)
        ]
        # Data sets that have come to their end are padded until all have.
        empty = [self._pad(None, slots) for slots in self.slots]
        while True:
            batch = [next(part, None) for part in parts]
            if all(b is None for b in batch):
                return
            filled = [b or e for b, e in zip(batch, empty, strict=True)]
            yield (*(images for images, _ in filled), *(labels for _, labels in filled))

    def _dataset_batches(self, record_set: RecordSet, split: str, slots: int) -> Iterator[Batch]:
        total = record_set.num_records(split)
        due = evaluation_records(total, self.rank, self.world_size)
        while True:
            due = due[~np.isin(due, self.watch.bad(record_set, split))]
            if not len(due):
                return
            try:
                for batch in self._decoded(record_set, split, due, slots):
                    yield self._pad(batch, slots)
                    due = due[slots:]
                return
            except (RuntimeError, ValueError) as error:
                self._diagnose(record_set, split, due, error)

    def _decoded(
        self, record_set: RecordSet, split: str, records: Records, slots: int
    ) -> Iterator[Batch]:
        pipeline = stored_records(record_set, split, records)
        operators = evaluation_transforms(self.size)
        pipeline = pipeline.map(operators, "image", num_parallel_workers=1).batch(slots)
        iterator: Iterator[Batch] = pipeline.create_tuple_iterator(num_epochs=1, output_numpy=True)
        return iterator

    def _diagnose(self, record_set: RecordSet, split: str, due: Records, error: Exception) -> None:
        def read(records: Sequence[int]) -> None:
            for _ in self._decoded(record_set, split, np.asarray(records), 1):
                pass

        self.watch.diagnose(record_set, split, due, read, error)

    def _pad(self, batch: Batch | None, slots: int) -> Batch:
        images = np.zeros((slots, self.size, self.size, 3), np.uint8)
        labels = np.full(slots, PADDING, np.int32)
        if batch is not None:
            images[: len(batch[0])] = batch[0]
            labels[: len(batch[1])] = batch[1]
        return images, labels

"""Evaluation batches: over all ranks every record exactly once, all batches of one shape."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from mindspore.dataset.vision import Inter

from train.data.batch import Batch, BatchLayout, DatasetPart
from train.data.damage import DamageWatch
from train.data.manifest import RecordSet
from train.data.pipeline import Columns, stored_records, transformed_batches
from train.data.records import IGNORE_INDEX, NO_LABEL
from train.data.sampler import evaluation_records
from train.data.transforms import evaluation_transforms


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
        """Yield all batches of a split, padded to one shape.

        Padded images have the label :data:`NO_LABEL` and :data:`IGNORE_INDEX` all over their masks.
        """
        parts = [
            self._dataset_batches(s, split, slots)
            for s, slots in zip(self.sets, self.slots, strict=True)
        ]
        # Data sets that have come to their end are padded until all have.
        empty = [self._padded(s, slots) for s, slots in zip(self.sets, self.slots, strict=True)]
        while True:
            batch = [next(part, None) for part in parts]
            if all(b is None for b in batch):
                return
            filled = [b or e for b, e in zip(batch, empty, strict=True)]
            yield self.layout.pack(
                [DatasetPart(images, labels, masks) for images, labels, *masks in filled]
            )

    def _dataset_batches(self, record_set: RecordSet, split: str, slots: int) -> Iterator[Columns]:
        masks = self.masks[record_set.name]
        due = evaluation_records(record_set.num_records(split), self.rank, self.world_size)
        while len(due):
            try:
                for columns in transformed_batches(
                    stored_records(record_set, split, due, masks),
                    masks,
                    evaluation_transforms(self.size),
                    evaluation_transforms(self.size, Inter.NEAREST),
                    slots,
                ):
                    yield self._padded(record_set, slots, columns)
                    due = due[slots:]
                return
            except (RuntimeError, ValueError) as error:
                due = np.setdiff1d(due, self.watch.diagnose(record_set, split, due, error))

    def _padded(self, record_set: RecordSet, slots: int, columns: Columns = ()) -> Columns:
        """Return a batch of a data set in which these records come first."""
        shape = slots, self.size, self.size
        padded: Columns = (
            np.zeros((*shape, 3), np.uint8),
            np.full(slots, NO_LABEL, np.int32),
            *(np.full(shape, IGNORE_INDEX, np.uint8) for _ in self.masks[record_set.name]),
        )
        for whole, part in zip(padded, columns, strict=False):
            whole[: len(part)] = part
        return padded

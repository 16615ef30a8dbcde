"""Mixed batches out of the MindRecord shards of all data sets, for training and for evaluation."""

import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial

import mindspore.dataset as ds
import numpy as np
from mindspore.dataset.vision import Inter

from train.config.schedule import Interval
from train.config.schema import Config
from train.data.batch import Batch, BatchLayout, DatasetPart
from train.data.cache import Row, cached_records, choose_cached, decode_all
from train.data.damage import BatchGuard, DamageWatch
from train.data.manifest import RecordSet
from train.data.mixing import mix
from train.data.pipeline import (
    Columns,
    Records,
    record_keys,
    stored_records,
    transformed_batches,
)
from train.data.records import IGNORE_INDEX, NO_LABEL
from train.data.sampler import TrainStream, evaluation_records, require_images
from train.data.transforms import evaluation_transforms, training_transforms

_TOLD = 8


class TrainLoader:
    """The training batches of one rank.

    Args:
        config: The run: seed, augmentations, cache.
        sets: The data sets, in the order of the mixed batch.
        shares: Images of every data set in the mixed batch, over all ranks.
        watch: Knows the damaged records.
        rank: This rank.
        world_size: Number of ranks.
        masks: Label spaces of masks that are wanted, per data set.
    """

    def __init__(
        self,
        config: Config,
        sets: Sequence[RecordSet],
        shares: Mapping[str, int],
        watch: DamageWatch,
        rank: int,
        world_size: int,
        masks: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        require_images(shares, world_size)
        self.sets = sets
        self.streams = [
            TrainStream(s.name, s.num_records("train"), shares[s.name], config.seed) for s in sets
        ]
        self.seed = config.seed
        self.augment = {s.name: config.augment_of(s.name) for s in sets}
        self.masks = _masks_of(sets, masks)
        self.guards = [BatchGuard(s, watch) for s in sets]
        self.rank = rank
        self.world_size = world_size
        self.cached: dict[str, list[Row]] = {}
        if config.cache == "ram":
            fitting = choose_cached(sets, self.masks, config.cache_budget)
            self.cached = {
                s.name: decode_all(s, self.masks[s.name], watch) for s in sets if s.name in fitting
            }

    @property
    def layout(self) -> BatchLayout:
        """The order of the arrays in a batch."""
        mixed = any(augment.mixes for augment in self.augment.values())
        return BatchLayout([s.name for s in self.sets], self.masks, mixed)

    def describe_cache(self) -> str:
        """Return one line that says which images are kept in memory."""
        kept = ", ".join(self.cached) or "no data set"
        others = ", ".join(s.name for s in self.sets if s.name not in self.cached)
        size = sum(array.nbytes for rows in self.cached.values() for row in rows for array in row)
        left_out = f"; {others} did not fit into cache_budget" if others else ""
        return f"In memory: images of {kept} ({size / 1e6:.0f} MB a rank){left_out}"

    @property
    def weights(self) -> list[float]:
        """Images of this rank in a step over their mean over the ranks, for every data set."""
        return [
            stream.num_images(self.rank, self.world_size) * self.world_size / stream.images_per_step
            for stream in self.streams
        ]

    def tell_records(self, step: int, rank: int) -> str:
        """Name the records that a rank sees in a step, some of every data set."""
        told = []
        for record_set, stream in zip(self.sets, self.streams, strict=True):
            [numbers] = stream.records(step, step + 1, rank, self.world_size)
            keys = record_keys(record_set, "train", numbers[:_TOLD])
            more = f" and {len(numbers) - _TOLD} more" if len(numbers) > _TOLD else ""
            told.append(f"{record_set.name}: {', '.join(keys)}{more}")
        return "; ".join(told)

    def batches(self, intervals: Iterable[Interval]) -> Iterator[tuple[Interval, Iterator[Batch]]]:
        """Yield every interval with its batches.

        The next interval is opened before the current one is used, so that its first images are
        decoded while the last steps of the current one are computed.
        """
        opened = ((interval, self._open(interval)) for interval in intervals)
        ahead = next(opened, None)
        while ahead is not None:
            current, ahead = ahead, next(opened, None)
            yield current

    def _open(self, interval: Interval) -> Iterator[Batch]:
        parts = []
        for record_set, stream, guard in zip(self.sets, self.streams, self.guards, strict=True):
            records = stream.records(interval.first, interval.last, self.rank, self.world_size)
            start = partial(self._start, record_set, interval, records)
            parts.append(guard.batches(records, interval.size, start))
        return self._assemble(interval, parts)

    def _start(
        self, record_set: RecordSet, interval: Interval, records: Records
    ) -> Iterator[Columns]:
        """Start the pipeline of a data set for an interval."""
        name = record_set.name
        # The operators take their seeds when the iterator is made: an interval sees the same pixels
        # whether the run was stopped before it or not.
        ds.config.set_seed(self._augmentation_seed(interval, name))
        masks, augment, flat = self.masks[name], self.augment[name], records.ravel()
        if decoded := name in self.cached:
            pipeline = cached_records(self.cached[name], flat, masks)
        else:
            pipeline = stored_records(record_set, "train", flat, masks)
        return transformed_batches(
            pipeline,
            masks,
            training_transforms(interval.size, augment, decoded),
            training_transforms(interval.size, augment, decoded, of_masks=True),
            records.shape[1],
            drop_remainder=True,
        )

    def _augmentation_seed(self, interval: Interval, name: str) -> int:
        text = f"{self.seed} {interval.first} {name} {self.rank}"
        return zlib.crc32(text.encode()) & 0x7FFFFFFF

    def _assemble(self, interval: Interval, parts: Sequence[Iterable[Columns]]) -> Iterator[Batch]:
        layout = self.layout
        for step, columns in enumerate(zip(*parts, strict=True), start=interval.first):
            mixed = []
            for record_set, (images, labels, *masks) in zip(self.sets, columns, strict=True):
                name = record_set.name
                seed = (self._augmentation_seed(interval, name), step)
                mixed.append(mix(DatasetPart(images, labels, masks), self.augment[name], seed))
            yield layout.pack(mixed)


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
        self.masks = _masks_of(sets, masks)
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


def _masks_of(
    sets: Sequence[RecordSet], wanted: Mapping[str, Sequence[str]] | None
) -> dict[str, Sequence[str]]:
    """Return the wanted label spaces of masks of every data set."""
    return {s.name: (wanted or {}).get(s.name, ()) for s in sets}

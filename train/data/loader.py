"""Mixed batches for training and evaluation, out of the MindRecord shards of all data sets.

Shapes: n_d = images of data set d in this rank's part of the mixed batch, H, W = height, width.
"""

import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mindspore.dataset as ds
import numpy as np
import numpy.typing as npt

from train.config import AugmentConfig, Config
from train.data.records import Manifest
from train.data.sampler import TrainStream, evaluation_records
from train.data.transforms import Operators, evaluation_transforms, training_transforms
from train.errors import UserError
from train.schedule import Stretch

# A mixed batch: the images of every data set, uint8 (n_d, H, W, 3), then the labels, int32 (n_d,).
Batch = tuple[npt.NDArray[Any], ...]

# Label of the images that fill up the last evaluation batch.
PADDING = -1


@dataclass(frozen=True)
class RecordSet:
    """One prepared data set."""

    name: str
    folder: Path
    manifest: Manifest

    def num_records(self, split: str) -> int:
        """Records of a split; 0 if there is no such split."""
        return self.manifest.splits[split].records if split in self.manifest.splits else 0


def open_record_sets(config: Config) -> list[RecordSet]:
    """Reads the manifests of all data sets and compares them with what the tasks expect.

    Raises:
        UserError: A folder or shard is missing or damaged, or a class count disagrees.
    """
    sets = {
        name: RecordSet(name, config.records_of(name), Manifest.read(config.records_of(name)))
        for name in config.datasets
    }
    for name, task in config.tasks.items():
        found = len(sets[config.dataset_of(name)].manifest.classes)
        if task.classes not in (None, found):
            raise UserError(
                f"tasks.{name}.classes: {task.classes} classes are expected, but "
                f"{config.records_of(config.dataset_of(name))} has {found}"
            )
    return list(sets.values())


class TrainLoader:
    """The training batches of one rank.

    Args:
        sets: The data sets, in the order of the mixed batch.
        shares: Images of every data set in the mixed batch, over all ranks.
        seed: Seed of the run: for the order of the records and the augmentations.
        augment: Augmentations.
        rank: This rank.
        world_size: Number of ranks.
    """

    def __init__(
        self,
        sets: Sequence[RecordSet],
        shares: Mapping[str, int],
        seed: int,
        augment: AugmentConfig,
        rank: int,
        world_size: int,
    ) -> None:
        for name, images in shares.items():
            if images < world_size:
                raise UserError(
                    f"batch: the mixed batch holds {images} image(s) of {name}, too few for "
                    f"{world_size} ranks (see batch.images_per_task and batch.shares)"
                )
        self.sets = sets
        self.streams = [
            TrainStream(s.name, s.num_records("train"), shares[s.name], seed) for s in sets
        ]
        self.seed = seed
        self.augment = augment
        self.rank = rank
        self.world_size = world_size

    @property
    def weights(self) -> list[float]:
        """For every data set: images of this rank in a step, over their mean over the ranks."""
        return [
            stream.num_images(self.rank, self.world_size) * self.world_size / stream.images_per_step
            for stream in self.streams
        ]

    def batches(self, stretches: Iterable[Stretch]) -> Iterator[tuple[Stretch, Iterator[Batch]]]:
        """Every stretch with its batches.

        The next stretch is opened before the current one is used, so that its first images are
        decoded while the last steps of the current one are computed.
        """
        ahead: tuple[Stretch, Iterator[Batch]] | None = None
        for stretch in stretches:
            opened = stretch, self._open(stretch)
            if ahead is not None:
                yield ahead
            ahead = opened
        if ahead is not None:
            yield ahead

    def _open(self, stretch: Stretch) -> Iterator[Batch]:
        operators = training_transforms(stretch.size, self.augment)
        parts = []
        for record_set, stream in zip(self.sets, self.streams, strict=True):
            records = stream.records(stretch.first, stretch.last, self.rank, self.world_size)
            # The operators take their seeds when the iterator is made: a stretch sees the same
            # pixels whether the run was stopped before it or not.
            ds.config.set_seed(self._augmentation_seed(stretch, record_set.name))
            pipeline = _pipeline(record_set, "train", records.ravel(), operators)
            pipeline = pipeline.batch(records.shape[1], drop_remainder=True)
            parts.append(pipeline.create_tuple_iterator(num_epochs=1, output_numpy=True))
        return _mix(parts)

    def _augmentation_seed(self, stretch: Stretch, name: str) -> int:
        text = f"{self.seed} {stretch.first} {name} {self.rank}"
        return zlib.crc32(text.encode()) & 0x7FFFFFFF


class EvaluationLoader:
    """The evaluation batches of one rank: over all ranks, every record exactly once.

    Args:
        sets: The data sets, in the order of the mixed batch.
        size: Height and width in pixels.
        images: Images per rank and batch. They are divided among the data sets by their number of
            records, so that all come to their end at about the same time.
        rank: This rank.
        world_size: Number of ranks.
    """

    def __init__(
        self, sets: Sequence[RecordSet], size: int, images: int, rank: int, world_size: int
    ) -> None:
        self.sets = sets
        self.size = size
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
        records = evaluation_records(total, slots, self.rank, self.world_size)
        if not records:
            return
        operators = evaluation_transforms(self.size)
        pipeline = _pipeline(record_set, split, np.concatenate(records), operators).batch(slots)
        for images, labels in pipeline.create_tuple_iterator(num_epochs=1, output_numpy=True):
            yield self._pad((images, labels), slots)

    def _pad(self, batch: Batch | None, slots: int) -> Batch:
        images = np.zeros((slots, self.size, self.size, 3), np.uint8)
        labels = np.full(slots, PADDING, np.int32)
        if batch is not None:
            images[: len(batch[0])] = batch[0]
            labels[: len(batch[1])] = batch[1]
        return images, labels


def _pipeline(
    record_set: RecordSet, split: str, records: npt.NDArray[np.int64], operators: Operators
) -> ds.Dataset:
    """Images and labels of the given records, in this order."""
    # A sampler takes at most as many indices as there are records: more come in pieces.
    num_records = record_set.num_records(split)
    pieces = [records[i : i + num_records] for i in range(0, len(records), num_records)]
    dataset = _subset(record_set, split, pieces[0])
    for piece in pieces[1:]:
        dataset = dataset + _subset(record_set, split, piece)
    # One worker a stage: ranks share the cores, and small images decode faster than they train.
    return dataset.map(operators, input_columns="image", num_parallel_workers=1)


def _subset(record_set: RecordSet, split: str, records: npt.NDArray[np.int64]) -> ds.MindDataset:
    return ds.MindDataset(
        record_set.manifest.shard_paths(record_set.folder, split),
        columns_list=["image", "label"],
        sampler=ds.SubsetSampler(records.tolist()),
        num_parallel_workers=1,
    )


def _mix(parts: Sequence[Iterable[Batch]]) -> Iterator[Batch]:
    for batches in zip(*parts, strict=True):
        yield (*(b[0] for b in batches), *(b[1].reshape(-1) for b in batches))

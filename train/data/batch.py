"""The mixed batch as one flat tuple of arrays: the form in which the compiled step takes it.

Shapes: n_d = images of data set d in the batch, H, W = height and width in pixels.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy.typing as npt

T = TypeVar("T")
Array = npt.NDArray[Any]
Batch = tuple[Array, ...]


@dataclass(frozen=True)
class DatasetPart:
    """What a mixed batch holds of one data set.

    Attributes:
        images: uint8 (n_d, H, W, 3).
        labels: Scene classes, int32 (n_d,).
        masks: One per label space that is wanted, uint8 (n_d, H, W).
        partners: Where images are mixed, the labels of their partners, int32 (n_d,).
        shares: Where images are mixed, how much each is itself, float32 (n_d,), in 0..1.
    """

    images: Array
    labels: Array
    masks: Sequence[Array] = ()
    partners: Array | None = None
    shares: Array | None = None


@dataclass(frozen=True)
class TaskInputs:
    """Where a task finds its labels in a batch: positions in the flat tuple.

    Attributes:
        scenes: Of the labels; where images are mixed, also of the partners and of the shares.
        masks: Of its masks; None for a task without.
    """

    scenes: tuple[int, ...]
    masks: int | None = None


@dataclass(frozen=True)
class BatchLayout:
    """The order of a batch, in groups: images, labels, then partners and shares if mixed, masks.

    Every group but the last has one array per data set, in their order; the masks come data set by
    data set, one array per label space.

    Attributes:
        datasets: Names of the data sets.
        masks: The label spaces that are wanted, per data set.
        mixed: Whether images are mixed with each other (MixUp, CutMix).
    """

    datasets: Sequence[str]
    masks: Mapping[str, Sequence[str]]
    mixed: bool = False

    def pack(self, parts: Sequence[DatasetPart]) -> Batch:
        """Return the batch that consists of these parts, one per data set."""
        batch: list[Any] = [*(p.images for p in parts), *(p.labels for p in parts)]
        if self.mixed:
            batch += [*(p.partners for p in parts), *(p.shares for p in parts)]
        return (*batch, *(mask for part in parts for mask in part.masks))

    def images(self, batch: Sequence[T]) -> Sequence[T]:
        """Return the images of every data set."""
        return batch[: len(self.datasets)]

    def inputs(self, dataset: str, space: str | None = None) -> TaskInputs:
        """Return where a task of a data set, and of a label space of masks, finds its labels."""
        count, own = len(self.datasets), list(self.datasets).index(dataset)
        mask = None
        if space is not None:
            spaces = [(name, s) for name in self.datasets for s in self.masks.get(name, ())]
            mask = count * (4 if self.mixed else 2) + spaces.index((dataset, space))
        groups = (1, 2, 3) if self.mixed else (1,)
        return TaskInputs(tuple(group * count + own for group in groups), mask)

"""Semantic segmentation: one label per pixel, from masks.

Shapes: n = images of the task, K = its classes, H, W = height and width of the images, C_l, H_l,
W_l = channels, height and width of level l. Maps are (n, C_l, H_l, W_l), or as the backend orders
their axes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import mindspore as ms
import numpy as np
import numpy.typing as npt
from mindspore import Tensor, nn, ops

from train.config.schema import Config
from train.data.batch import Array, Batch, BatchLayout, TaskInputs
from train.data.manifest import RecordSet
from train.data.records import IGNORE_INDEX
from train.model.backend import Backend
from train.model.layers import split
from train.tasks.base import Decision, KindLosses, Task
from train.tasks.labels import labels_of
from train.tasks.metrics import Confusion, PixelCounts, oracle_classes, segmentation_metrics

_ABSENT = 1e-6


class SegmentationHead(nn.Cell):
    """A top-down decoder: from the last level up, each level adds what it knows more precisely.

    After the feature pyramid network (Lin et al., CVPR 2017), with one output at the finest level.

    Args:
        channels: Channels of all levels.
        num_classes: K.
        width: Channels of the decoder.
        backend: What it is made of.
    """

    def __init__(
        self, channels: Sequence[int], num_classes: int, width: int, backend: Backend
    ) -> None:
        super().__init__()
        self.lateral = nn.CellList([backend.conv(c, width, 1) for c in channels])
        self.conv = backend.conv(width, width, 3)
        self.norm = backend.norm(width, relu=True)
        self.classify = backend.conv(width, num_classes, 1)
        self.resize = backend.resize()
        self.channels_first = backend.channels_first()
        self.height_axis = backend.height_axis

    def construct(self, features: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
        """Maps (N, C_l, H_l, W_l) -> logits (N, K, H, W)."""
        axis = self.height_axis
        last = len(features) - 1
        x = self.lateral[last](features[last])
        for level in range(last - 1, -1, -1):
            finer = features[level]
            x = self.lateral[level](finer, self.resize(x, finer.shape[axis : axis + 2]))
        x = self.norm(self.conv(x), [x.shape[0]])
        logits = self.classify(x).astype(ms.float32)
        return self.channels_first(self.resize(logits, size))


class PixelAnswers(nn.Cell):
    """The logits of all segmentation tasks; see :class:`train.tasks.base.Task`."""

    def __init__(
        self, heads: Sequence[nn.Cell], positions: Sequence[int], backend: Backend
    ) -> None:
        super().__init__(auto_prefix=False)
        self.heads = tuple(heads)
        self.positions = tuple(positions)

    def construct(
        self, levels: Sequence[Tensor], counts: Sequence[int], size: tuple[int, int]
    ) -> tuple[Tensor, ...]:
        """Return one tensor (n, K, H, W) per segmentation task."""
        parts = [split(level, counts) for level in levels]
        answers: tuple[Tensor, ...] = ()
        for i, head in zip(self.positions, self.heads):  # noqa: B905
            answers = (*answers, head([part[i] for part in parts], size))
        return answers


class PixelLosses(KindLosses):
    """Cross-entropy, the mean over the pixels of all ranks that have a class, and Dice."""

    counts = True

    def __init__(
        self,
        tasks: Sequence["SegmentationTask"],
        positions: Sequence[int],
        inputs: Sequence[TaskInputs],
        weights: Sequence[float],
        backend: Backend,
    ) -> None:
        super().__init__(auto_prefix=False)
        self.positions = tuple(positions)
        self.masks = tuple(i.masks for i in inputs if i.masks is not None)
        self.weights = tuple(weights)
        self.dice_weight = tasks[0].dice_weight

    def totals(self, batch: Sequence[Tensor]) -> Tensor:
        """Return for every task the pixels that have a class."""
        return ops.stack([has_class(batch[mask]).sum() for mask in self.masks])

    def construct(
        self, answers: Sequence[Tensor], batch: Sequence[Tensor], totals: Tensor
    ) -> Tensor:
        """See the base class."""
        losses: tuple[Tensor, ...] = ()
        for i, mask, weight in zip(self.positions, self.masks, self.weights):  # noqa: B905
            logits = answers[i]
            targets = pixel_targets(batch[mask], logits.shape[1])
            loss = pixel_cross_entropy(logits, targets) / totals[i]
            if self.dice_weight > 0:
                loss = loss + self.dice_weight * dice(logits, targets) * weight
            losses = (*losses, loss)
        return ops.stack(losses)


class PixelDecision(Decision):
    """The most likely class of every pixel: (n, K, H, W) -> uint8 (n, H, W)."""

    # Masks have at most 255 classes, and a quarter of the bytes comes back from the device.
    dtype = ms.uint8


def has_class(mask: Tensor) -> Tensor:
    """1 where a pixel has a class and 0 where it has none: uint8 (N, H, W) -> float32."""
    return (mask != IGNORE_INDEX).astype(ms.float32)


def pixel_targets(mask: Tensor, num_classes: int) -> Tensor:
    """Return the target of every pixel, all zero where it has no class.

    A mask uint8 (N, H, W), with values in 0..K-1 or IGNORE_INDEX -> float32 (N, K, H, W).
    """
    valid = has_class(mask)
    classes = (mask.astype(ms.float32) * valid).astype(ms.int32)
    on, off = Tensor(1.0, ms.float32), Tensor(0.0, ms.float32)
    return ops.one_hot(classes, num_classes, on, off, axis=1) * valid.expand_dims(1)


def pixel_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the sum of the cross-entropy over all pixels that have a class, scalar.

    A sum, because what it has to be divided by, the number of such pixels, is that of all ranks.
    Logits and the targets from :func:`pixel_targets` are (N, K, H, W).
    """
    return -(targets * ops.log_softmax(logits, 1)).sum()


def dice(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the mean over the images of one minus the soft Dice coefficient, scalar.

    The coefficient 2 sum(p y) / (sum(p) + sum(y)) of an image (Milletari et al., 3DV 2016, without
    their squares) is the mean over the classes that occur in it. Taken image by image, and not over
    the batch, it is the same on any number of ranks. Images without a valid pixel count as zero.
    Logits and the targets from :func:`pixel_targets` are (N, K, H, W).
    """
    probabilities = ops.softmax(logits, 1) * targets.sum(1, keepdims=True)
    truth = targets.sum((2, 3))
    overlap = 2.0 * (probabilities * targets).sum((2, 3))
    coefficients = overlap / (probabilities.sum((2, 3)) + truth + _ABSENT)
    occurs = (truth > 0).astype(ms.float32)
    lost = ((1.0 - coefficients) * occurs).sum(1)
    return (lost / ops.maximum(occurs.sum(1), 1.0)).mean()


class PixelTally:
    """Adds up the pixels of a task.

    Args:
        classes: Class names.
        inputs: Where labels and masks are in a batch.
        oracle: From :func:`train.tasks.metrics.oracle_classes`.
    """

    def __init__(
        self, classes: Sequence[str], inputs: TaskInputs, oracle: npt.NDArray[np.int64] | None
    ) -> None:
        assert inputs.masks is not None
        self.classes = classes
        self.labels, self.masks = inputs.scenes[0], inputs.masks
        self.oracle = oracle
        self.counts = PixelCounts.zeros(len(classes))

    def add(self, predictions: Array, batch: Batch) -> None:
        """Count a batch with predictions (n, H, W)."""
        painted = None if self.oracle is None else self.oracle[batch[self.labels]]
        self.counts.add(predictions, batch[self.masks], painted)

    def vector(self) -> Confusion:
        """Return the counts of this rank, (2 + 4 K^2,)."""
        return self.counts.vector()

    def metrics(self, vector: Confusion) -> dict[str, Any]:
        """Return the metrics of the counts of all ranks."""
        counts = PixelCounts.from_vector(vector, len(self.classes))
        return segmentation_metrics(counts, self.classes, self.oracle is not None)


@dataclass(frozen=True)
class SegmentationTask(Task):
    """A segmentation task.

    Attributes:
        masks: The label space of its masks.
        decoder_channels: Channels of its decoder.
        dice_weight: Weight of the Dice loss beside the cross-entropy.
    """

    kind = "segmentation"
    answers = PixelAnswers
    losses = PixelLosses
    decision = PixelDecision

    masks: str = ""
    decoder_channels: int = 32
    dice_weight: float = 0.0

    @classmethod
    def resolve(cls, name: str, config: Config, record_set: RecordSet) -> "SegmentationTask":
        """See the base class."""
        labels = labels_of(name, config, record_set)
        options = config.model.decoder_channels, config.loss.dice
        return cls(name, record_set.name, labels.classes, labels.masks or "", *options)

    @property
    def label_space(self) -> str | None:
        """See the base class."""
        return self.masks

    def head(self, channels: Sequence[int], backend: Backend) -> nn.Cell:
        """See the base class."""
        return SegmentationHead(channels, len(self.classes), self.decoder_channels, backend)

    def tally(self, layout: BatchLayout, scene_classes: Sequence[str]) -> "PixelTally":
        """See the base class."""
        inputs = layout.inputs(self.dataset, self.masks)
        return PixelTally(self.classes, inputs, oracle_classes(scene_classes, self.classes))

"""Metrics of tasks, computed once from the confusion matrices of all ranks.

Those of segmentation are counted over all valid pixels of all images, at the size that the network
sees: a mean of the values of single images or ranks would be another, and a kinder, measure. The
four measures are those of Long, Shelhamer and Darrell, "Fully Convolutional Networks for Semantic
Segmentation", CVPR 2015. Where most images show little but their scene class, a high figure says
little. So two things stand beside it: the same measures over the images whose masks hold several
classes, and an *oracle* that paints every image with its true scene class.

Shapes: n = images, H, W = height and width in pixels, K = number of classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from train.data.records import IGNORE_INDEX

Confusion = npt.NDArray[np.int64]
Integers = npt.NDArray[np.integer[Any]]


def confusion_matrix(labels: Integers, predictions: Integers, num_classes: int) -> Confusion:
    """Return counts (num_classes, num_classes): rows are true classes, columns predicted ones.

    Args:
        labels: (N,); images with a negative label do not count.
        predictions: (N,).
        num_classes: Number of classes.
    """
    valid = labels >= 0
    cells = labels[valid].astype(np.int64) * num_classes + predictions[valid]
    counts = np.bincount(cells, minlength=num_classes**2)
    return counts.reshape(num_classes, num_classes).astype(np.int64)


def ratio(part: float, whole: int) -> float | None:
    """Return a part of a whole as a ratio, None where there is nothing."""
    return part / whole if whole else None


def classification_metrics(confusion: Confusion, classes: Sequence[str]) -> dict[str, Any]:
    """Return the metrics of a confusion matrix (rows true, columns predicted).

    Returns:
        ``kind`` ("scene"), ``accuracy`` (overall), ``average_accuracy`` (mean of the classes'
        recalls; classes without an image do not count), ``kappa`` (Cohen, 1960), ``images``,
        ``per_class`` (recall by name) and ``confusion_matrix``. Ratios are in 0..1, or None where
        there is no image.
    """
    total = int(confusion.sum())
    per_class = [ratio(int(row[k]), int(row.sum())) for k, row in enumerate(confusion)]
    known = [recall for recall in per_class if recall is not None]
    return {
        "kind": "scene",
        "accuracy": ratio(int(np.trace(confusion)), total),
        "average_accuracy": ratio(sum(known), len(known)),
        "kappa": _kappa(confusion),
        "images": total,
        "per_class": dict(zip(classes, per_class, strict=True)),
        "confusion_matrix": confusion.tolist(),
    }


def _kappa(confusion: Confusion) -> float | None:
    total = float(confusion.sum())
    if not total:
        return None
    observed = float(np.trace(confusion)) / total
    by_chance = float((confusion.sum(0) / total) @ (confusion.sum(1) / total))
    # If chance alone is always right, there is one class and nothing to agree on.
    return (observed - by_chance) / (1 - by_chance) if by_chance < 1 else 0.0


@dataclass(frozen=True)
class PixelCounts:
    """What is counted on one rank, and added up over all of them.

    Attributes:
        images: (2,), images with valid pixels of one class, and of several.
        network: (2, K, K), their pixels by true class (rows) and predicted class (columns).
        oracle: (2, K, K), the same for the oracle; zeros where there is none.
    """

    images: Confusion
    network: Confusion
    oracle: Confusion

    @classmethod
    def zeros(cls, num_classes: int) -> PixelCounts:
        """Return counts of nothing."""
        return cls.from_vector(np.zeros(2 + 4 * num_classes**2, np.int64), num_classes)

    @classmethod
    def from_vector(cls, vector: Confusion, num_classes: int) -> PixelCounts:
        """Return the counts that :meth:`vector` gave."""
        network, oracle = vector[2:].reshape(2, 2, num_classes, num_classes)
        return cls(vector[:2], network, oracle)

    def vector(self) -> Confusion:
        """Return all counts one after another, (2 + 4 K^2,), for the sum over the ranks."""
        return np.concatenate([self.images, self.network.ravel(), self.oracle.ravel()])

    def add(self, predictions: Integers, masks: Integers, painted: Integers | None) -> None:
        """Count images.

        Args:
            predictions: (n, H, W), classes.
            masks: (n, H, W), true classes, or :data:`IGNORE_INDEX` where a pixel does not count.
            painted: (n,), the class in which the oracle paints an image; None for no oracle. That
                of an image without valid pixels is not looked at.
        """
        num_classes = self.network.shape[-1]
        # Image by image, so that the indices of the pixels take little memory at any image size.
        for i, (prediction, mask) in enumerate(zip(predictions, masks, strict=True)):
            valid = mask != IGNORE_INDEX
            matrix = confusion_matrix(mask[valid], prediction[valid], num_classes)
            pixels = matrix.sum(1)
            if not pixels.any():
                continue
            several = int(np.count_nonzero(pixels) > 1)
            self.images[several] += 1
            self.network[several] += matrix
            if painted is not None:
                self.oracle[several, :, painted[i]] += pixels


def oracle_classes(scenes: Sequence[str], classes: Sequence[str]) -> npt.NDArray[np.int64] | None:
    """Return the class in which the oracle paints images of every scene class.

    Args:
        scenes: Scene classes of the data set.
        classes: Classes of the masks.

    Returns:
        Positions in ``classes`` (number of scenes,); None if there are no scene classes, or one
        of them is no class of the masks.
    """
    if not scenes or not set(scenes) <= set(classes):
        return None
    return np.array([list(classes).index(scene) for scene in scenes])


def segmentation_metrics(
    counts: PixelCounts, classes: Sequence[str], has_oracle: bool
) -> dict[str, Any]:
    """Return the metrics of a segmentation task.

    Args:
        counts: Of all ranks.
        classes: Names of the K classes.
        has_oracle: Whether the oracle was counted.

    Returns:
        ``kind`` ("segmentation"), ``pixel_accuracy``, ``mean_iou`` (intersection over union, mean
        over the classes that occur in truth or prediction), ``frequency_weighted_iou``,
        ``per_class_iou`` (by name; None for a class that occurs in neither), ``images`` (those
        with valid pixels), ``pixels`` (valid), ``confusion_matrix``; ``multi_class``: ``images``,
        ``pixel_accuracy`` and ``mean_iou`` over the images whose valid pixels have several true
        classes; ``oracle``: ``pixel_accuracy``, ``mean_iou`` and ``multi_class`` with the same two,
        or None. Ratios are in 0..1, or None where there is no pixel.
    """
    matrix = counts.network.sum(0)
    ious = _ious(matrix)
    oracle = {**_brief(counts.oracle.sum(0)), "multi_class": _brief(counts.oracle[1])}
    return {
        "kind": "segmentation",
        **_brief(matrix),
        "frequency_weighted_iou": _frequency_weighted(matrix, ious),
        "per_class_iou": dict(zip(classes, ious, strict=True)),
        "images": int(counts.images.sum()),
        "pixels": int(matrix.sum()),
        "multi_class": {"images": int(counts.images[1]), **_brief(counts.network[1])},
        "oracle": oracle if has_oracle else None,
        "confusion_matrix": matrix.tolist(),
    }


def _brief(matrix: Confusion) -> dict[str, float | None]:
    known = [iou for iou in _ious(matrix) if iou is not None]
    return {
        "pixel_accuracy": ratio(int(np.trace(matrix)), int(matrix.sum())),
        "mean_iou": ratio(sum(known), len(known)),
    }


def _ious(matrix: Confusion) -> list[float | None]:
    """Of every class: true and predicted as such, over true or predicted as such."""
    both = np.diag(matrix)
    either = matrix.sum(0) + matrix.sum(1) - both
    return [ratio(int(i), int(u)) for i, u in zip(both, either, strict=True)]


def _frequency_weighted(matrix: Confusion, ious: Sequence[float | None]) -> float | None:
    pixels = matrix.sum(1)
    weighted = sum(int(n) * iou for n, iou in zip(pixels, ious, strict=True) if iou is not None)
    return ratio(weighted, int(pixels.sum()))

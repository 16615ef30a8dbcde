"""Metrics of a scene task, computed once from the confusion matrix of all ranks."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Confusion = npt.NDArray[np.int64]


def confusion_matrix(
    labels: npt.NDArray[np.integer[Any]],
    predictions: npt.NDArray[np.integer[Any]],
    num_classes: int,
) -> Confusion:
    """Counts (num_classes, num_classes): rows are true classes, columns predicted ones.

    Args:
        labels: (N,); images with a negative label do not count.
        predictions: (N,).
        num_classes: Number of classes.
    """
    valid = labels >= 0
    cells = labels[valid].astype(np.int64) * num_classes + predictions[valid]
    counts = np.bincount(cells, minlength=num_classes**2)
    return counts.reshape(num_classes, num_classes).astype(np.int64)


def classification_metrics(confusion: Confusion, classes: Sequence[str]) -> dict[str, Any]:
    """The metrics of a confusion matrix (rows true, columns predicted).

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


def ratio(part: float, whole: int) -> float | None:
    """Part of a whole, None where there is nothing."""
    return part / whole if whole else None

"""Confusion matrices, from which the metrics of several kinds of tasks are computed."""

from typing import Any

import numpy as np
import numpy.typing as npt

Confusion = npt.NDArray[np.int64]


def confusion_matrix(
    labels: npt.NDArray[np.integer[Any]],
    predictions: npt.NDArray[np.integer[Any]],
    num_classes: int,
) -> Confusion:
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

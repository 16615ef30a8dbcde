"""What a confusion matrix tells, and how sure that is.

Shapes: K = classes, n = images.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.int64]
# Of the normal distribution, for an interval that holds 95 %.
_Z = 1.959963984540054
_RESAMPLES = 500
_MOST_PAIRS = 8


@dataclass(frozen=True)
class Interval:
    """An interval that holds the true value with 95 %, within 0..1."""

    low: float
    high: float


def wilson(right: int, total: int) -> Interval | None:
    """Return the score interval of a proportion (Wilson, 1927); None where nothing was counted.

    Args:
        right: Counted as right.
        total: Counted.
    """
    if not total:
        return None
    share, z2 = right / total, _Z * _Z
    middle = share + z2 / (2 * total)
    half = _Z * sqrt(share * (1 - share) / total + z2 / (4 * total * total))
    scale = 1 + z2 / total
    return Interval(max(0.0, (middle - half) / scale), min(1.0, (middle + half) / scale))


def iou_intervals(matrices: Matrix, seed: int = 0) -> list[Interval | None]:
    """Return percentile intervals of the IoU of every class, from images drawn with replacement.

    Pixels of one image are not independent, so it is images that are drawn (Efron, 1979).

    Args:
        matrices: Confusion matrix of every image, (n, K, K).
        seed: What is drawn depends on it alone.
    """
    count, classes, _ = matrices.shape
    if count < 2:
        return [None] * classes
    rng = np.random.default_rng(seed)
    draws = rng.multinomial(count, np.full(count, 1 / count), size=_RESAMPLES)
    totals = (draws.astype(np.float64) @ matrices.reshape(count, -1)).reshape(-1, classes, classes)
    both = np.einsum("rkk->rk", totals)
    either = totals.sum(1) + totals.sum(2) - both
    intervals: list[Interval | None] = []
    for k in range(classes):
        known = either[:, k] > 0
        if not known.any():
            intervals.append(None)
            continue
        low, high = np.percentile(both[known, k] / either[known, k], (2.5, 97.5))
        intervals.append(Interval(float(low), float(high)))
    return intervals


@dataclass(frozen=True)
class ClassFigures:
    """What a confusion matrix says of a class; ratios are in 0..1, None where there is nothing.

    Attributes:
        total: Images (or pixels) of the class.
        answered: Those that were answered to be of it.
        right: Those that are both.
    """

    total: int
    answered: int
    right: int

    @property
    def precision(self) -> float | None:
        """Of those answered to be of the class, the share that is."""
        return self.right / self.answered if self.answered else None

    @property
    def f1(self) -> float | None:
        """Harmonic mean of recall and precision."""
        both = self.total + self.answered
        return 2 * self.right / both if both else None


def class_figures(matrix: Matrix) -> list[ClassFigures]:
    """Return the figures of all classes of a confusion matrix (K, K), rows true."""
    rows, columns, right = matrix.sum(1), matrix.sum(0), np.diag(matrix)
    return [ClassFigures(*map(int, v)) for v in zip(rows, columns, right, strict=True)]


@dataclass(frozen=True)
class Pair:
    """A class that is taken for another one.

    Attributes:
        true, answered: Positions of the classes.
        count: How often.
        share: Of all of the true class, 0..1.
    """

    true: int
    answered: int
    count: int
    share: float


def confused_pairs(matrix: Matrix, most: int = _MOST_PAIRS) -> list[Pair]:
    """Return the pairs that are confused most often, of (K, K)."""
    wrong = matrix.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:most]
    pairs = []
    for true, answered in zip(*np.unravel_index(order, wrong.shape), strict=True):
        if count := int(wrong[true, answered]):
            pairs.append(Pair(int(true), int(answered), count, count / int(matrix[true].sum())))
    return pairs


def as_matrix(metrics: dict[str, Any]) -> Matrix:
    """Return the confusion matrix of the metrics of a task."""
    return np.array(metrics["confusion_matrix"], np.int64)


def evenly(total: int, most: int) -> Sequence[int]:
    """Return at most so many numbers below a total, spread evenly."""
    if total <= most:
        return range(total)
    return [i * total // most for i in range(most)]

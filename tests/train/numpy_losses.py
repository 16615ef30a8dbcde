"""The losses once more, in numpy, image by image or pixel by pixel."""

from typing import Any

import numpy as np

Array = np.ndarray
IGNORED = 255


def numpy_cross_entropy(logits: Any, labels: Any, smoothing: float) -> float:
    num_classes = logits.shape[1]
    log_p = logits - np.log(np.exp(logits.astype(np.float64)).sum(1, keepdims=True))
    target = np.eye(num_classes)[labels] * (1 - smoothing) + smoothing / num_classes
    return float(-(target * log_p).sum(1).mean())


def numpy_pixels(logits: Array, mask: Array) -> tuple[float, float]:
    """(Sum of the cross-entropies of valid pixels, mean Dice loss), pixel by pixel."""
    logits = logits.astype(np.float64)
    total, lost = 0.0, []
    for scores, truth in zip(logits, mask, strict=True):
        overlap, both = np.zeros(len(scores)), np.zeros(len(scores))
        for y, x in zip(*np.nonzero(truth != IGNORED), strict=True):
            p = np.exp(scores[:, y, x]) / np.exp(scores[:, y, x]).sum()
            total -= np.log(p[truth[y, x]])
            overlap[truth[y, x]] += 2 * p[truth[y, x]]
            both += p
            both[truth[y, x]] += 1
        seen = np.unique(truth[truth != IGNORED])
        lost.append(np.mean([1 - overlap[k] / both[k] for k in seen]) if len(seen) else 0.0)
    return total, float(np.mean(lost))

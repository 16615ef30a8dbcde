"""The losses once more, by image or by pixel; and a gradient against differences of the loss."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import pytest
from mindspore import Parameter, Tensor

Array = np.ndarray
IGNORED = 255
# Small, or the loss bends on the way; large, or its rounding shows.
SHIFT = 3e-3


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


def assert_gradient(
    parameters: Mapping[str, Parameter],
    gradient: Mapping[str, np.ndarray],
    names: Iterable[str],
    loss: Callable[[], float],
) -> None:
    """Along the gradient the loss must rise by its norm; a wrong direction rises less."""
    for name in names:
        parameter, start = parameters[name], parameters[name].asnumpy().copy()
        norm = np.linalg.norm(gradient[name])
        losses = []
        for shift in (SHIFT, -SHIFT):
            parameter.set_data(Tensor(start + shift * gradient[name] / norm))
            losses.append(loss())
        parameter.set_data(Tensor(start))
        assert (losses[0] - losses[1]) / (2 * SHIFT) == pytest.approx(norm, rel=0.02), name

"""Losses. Shapes: N = images, K = classes."""

import mindspore as ms
from mindspore import Tensor, ops


def cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Mean cross-entropy.

    Args:
        logits: (N, K).
        target: Probability of every class, float32 (N, K).

    Returns:
        Scalar.
    """
    return -(target * ops.log_softmax(logits, -1)).sum(-1).mean()


def smoothed(labels: Tensor, num_classes: int, smoothing: float) -> Tensor:
    """Target with label smoothing (Szegedy et al., CVPR 2016).

    Args:
        labels: int32 (N,), values in 0..K-1.
        num_classes: K.
        smoothing: Probability that is spread evenly over all classes.

    Returns:
        float32 (N, K).
    """
    rest = smoothing / num_classes
    return ops.one_hot(
        labels,
        num_classes,
        Tensor(1.0 - smoothing + rest, ms.float32),
        Tensor(rest, ms.float32),
    )

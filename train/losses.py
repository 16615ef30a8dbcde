"""Losses. Shapes: N = images, K = classes."""

import mindspore as ms
from mindspore import Tensor, ops


def cross_entropy(logits: Tensor, labels: Tensor, smoothing: float) -> Tensor:
    """Mean cross-entropy with label smoothing (Szegedy et al., CVPR 2016).

    Args:
        logits: (N, K).
        labels: int32 (N,), values in 0..K-1.
        smoothing: Probability that is spread evenly over all K classes.

    Returns:
        Scalar.
    """
    num_classes = logits.shape[1]
    rest = smoothing / num_classes
    target = ops.one_hot(
        labels,
        num_classes,
        Tensor(1.0 - smoothing + rest, ms.float32),
        Tensor(rest, ms.float32),
    )
    return -(target * ops.log_softmax(logits, -1)).sum(-1).mean()

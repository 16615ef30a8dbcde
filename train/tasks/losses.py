"""Losses. Shapes: N = images, K = classes, H, W = height and width."""

from collections.abc import Sequence

import mindspore as ms
from mindspore import Tensor, nn, ops

from train.data.records import IGNORE_INDEX

_ABSENT = 1e-6


def cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Mean cross-entropy.

    Args:
        logits: (N, K).
        target: Probability of every class, float32 (N, K).

    Returns:
        Scalar.
    """
    return -(target * ops.log_softmax(logits, -1)).sum(-1).mean()


class CrossEntropies(nn.Cell):
    """The mean cross-entropies of all scene tasks.

    Args:
        smoothing: See :func:`smoothed`.
    """

    def __init__(self, smoothing: float) -> None:
        super().__init__()
        self.smoothing = smoothing

    def construct(
        self, logits: Sequence[Tensor], labels: Sequence[Tensor], *mixing: Sequence[Tensor]
    ) -> Tensor:
        """Losses of the T scene tasks, (T,).

        Args:
            logits: Of every task, (N, K).
            labels: Of every task, int32 (N,).
            mixing: If images are mixed with each other, the labels of their partners, of every task
                int32 (N,), and the shares of their own, of every task float32 (N,).
        """
        losses = []
        for i, own in enumerate(logits):
            target = smoothed(labels[i], own.shape[1], self.smoothing)
            if mixing:
                partners, shares = mixing
                other = smoothed(partners[i], own.shape[1], self.smoothing)
                share = shares[i].reshape((-1, 1))
                target = share * target + (1.0 - share) * other
            losses.append(cross_entropy(own, target))
        return ops.stack(losses)


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


def has_class(mask: Tensor) -> Tensor:
    """1 where a pixel has a class and 0 where it has none: uint8 (N, H, W) -> float32."""
    return (mask != IGNORE_INDEX).astype(ms.float32)


def pixel_targets(mask: Tensor, num_classes: int) -> Tensor:
    """Target of every pixel, all zero where it has no class.

    Args:
        mask: uint8 (N, H, W), values in 0..K-1 or IGNORE_INDEX.
        num_classes: K.

    Returns:
        float32 (N, K, H, W).
    """
    valid = has_class(mask)
    classes = (mask.astype(ms.float32) * valid).astype(ms.int32)
    on, off = Tensor(1.0, ms.float32), Tensor(0.0, ms.float32)
    return ops.one_hot(classes, num_classes, on, off, axis=1) * valid.expand_dims(1)


def pixel_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Sum of the cross-entropy over all pixels that have a class.

    A sum, because what it has to be divided by, the number of such pixels, is that of all ranks.

    Args:
        logits: (N, K, H, W).
        targets: From :func:`pixel_targets`, (N, K, H, W).

    Returns:
        Scalar.
    """
    return -(targets * ops.log_softmax(logits, 1)).sum()


def dice(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean over the images of one minus the soft Dice coefficient.

    The coefficient 2 sum(p y) / (sum(p) + sum(y)) of an image (Milletari et al., 3DV 2016, without
    their squares) is the mean over the classes that occur in it. Taken image by image, and not over
    the batch, it is the same on any number of ranks.

    Args:
        logits: (N, K, H, W).
        targets: From :func:`pixel_targets`, (N, K, H, W).

    Returns:
        Scalar; images without a valid pixel count as zero.
    """
    probabilities = ops.softmax(logits, 1) * targets.sum(1, keepdims=True)
    truth = targets.sum((2, 3))
    overlap = 2.0 * (probabilities * targets).sum((2, 3))
    coefficients = overlap / (probabilities.sum((2, 3)) + truth + _ABSENT)
    occurs = (truth > 0).astype(ms.float32)
    lost = ((1.0 - coefficients) * occurs).sum(1)
    return (lost / ops.maximum(occurs.sum(1), 1.0)).mean()

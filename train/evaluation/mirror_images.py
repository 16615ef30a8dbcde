"""An image and its mirror images, whose answers are averaged.

Shapes: n = images, H, W = height and width, K = classes.
"""

from mindspore import Tensor, nn, ops

from train.model.layers import split


class MirrorImages(nn.Cell):
    """Makes three mirror images of every image, and one answer of the four."""

    def __init__(self) -> None:
        super().__init__(auto_prefix=False)
        self.concat = ops.Concat(0)

    def make(self, pixels: Tensor) -> Tensor:
        """(n, H, W, 3) -> (4 n, H, W, 3): as they are, left-right, up-down, both."""
        left_right, up_down = ops.flip(pixels, (2,)), ops.flip(pixels, (1,))
        return self.concat((pixels, left_right, up_down, ops.flip(pixels, (1, 2))))

    def merge(self, scores: Tensor) -> Tensor:
        """Return the sums of the scores, mirrored back: (4 n, K[, H, W]) -> (n, K[, H, W])."""
        same, left_right, up_down, both = split(scores, (scores.shape[0] // 4,) * 4)
        if scores.ndim == 4:
            left_right, up_down = ops.flip(left_right, (3,)), ops.flip(up_down, (2,))
            both = ops.flip(both, (2, 3))
        return same + left_right + up_down + both

"""The compiled forward pass of an evaluation.

Shapes: n_d = images of data set d in a batch, H, W = height and width, K = classes of a task.
"""

from collections.abc import Sequence

from mindspore import Tensor, mint, nn, ops

from train.tasks.base import Task


class PredictStep(nn.Cell):
    """The answers for every image of every task.

    Args:
        network: The network.
        tasks: The tasks, in the order of the network's answers.
        flips: Whether to average the probabilities of an image and its three mirror images.
    """

    def __init__(self, network: nn.Cell, tasks: Sequence[Task], flips: bool) -> None:
        super().__init__(auto_prefix=False)
        self.network = network
        self.decisions = tuple(task.decision() for task in tasks)
        self.flips = flips
        self.concat = ops.Concat(0)

    def construct(self, *images: Tensor) -> tuple[Tensor, ...]:
        """Return the answers for all images, one tensor per task.

        Args:
            images: One tensor per data set, uint8 (n_d, H, W, 3).
        """
        if self.flips:
            images = tuple([self._mirror(pixels) for pixels in images])
        answers = []
        for logits, decide in zip(self.network(*images), self.decisions):  # noqa: B905
            scores = self._merge(decide.probabilities(logits)) if self.flips else logits
            answers.append(decide(scores))
        return tuple(answers)

    def _mirror(self, pixels: Tensor) -> Tensor:
        """(n_d, H, W, 3) -> (4 n_d, H, W, 3): as they are, left-right, up-down, both."""
        left_right, up_down = ops.flip(pixels, (2,)), ops.flip(pixels, (1,))
        return self.concat((pixels, left_right, up_down, ops.flip(pixels, (1, 2))))

    def _merge(self, scores: Tensor) -> Tensor:
        """Sums of the scores, mirrored back: (4 n_d, K[, H, W]) -> (n_d, K[, H, W])."""
        same, left_right, up_down, both = mint.split(scores, scores.shape[0] // 4)
        if scores.ndim == 4:
            left_right, up_down = ops.flip(left_right, (3,)), ops.flip(up_down, (2,))
            both = ops.flip(both, (2, 3))
        return same + left_right + up_down + both

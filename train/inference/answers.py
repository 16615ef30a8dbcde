"""What a trained network is asked for: probabilities, logits, and where its tasks look.

Shapes: n_d = images of data set d in a batch, n = images of a task, K = its classes, H, W = height
and width, L = levels.
"""

from collections.abc import Sequence

from mindspore import Tensor, ops

from train.evaluation.mirror_images import MirrorImages
from train.model.compiled_cell import CompiledCell
from train.model.layers import split
from train.model.mtln import MTLN
from train.tasks.base import Task


class Probabilities(CompiledCell):
    """The probabilities of all classes.

    Args:
        network: The network.
        tasks: The tasks, in the order of the network's answers.
        flips: Whether they are the means over an image and its three mirror images.
    """

    def __init__(self, network: MTLN, tasks: Sequence[Task], flips: bool) -> None:
        super().__init__(auto_prefix=False)
        self.network = network
        self.decisions = tuple(task.decision() for task in tasks)
        self.mirrors = MirrorImages() if flips else None

    def construct(self, *images: Tensor) -> tuple[Tensor, ...]:
        """One uint8 tensor (n_d, H, W, 3) per data set -> float32 (n, K[, H, W]) per task."""
        mirrors = self.mirrors
        if mirrors is not None:
            images = tuple([mirrors.make(pixels) for pixels in images])
        answers: tuple[Tensor, ...] = ()
        for logits, decide in zip(self.network(*images), self.decisions):  # noqa: B905
            scores = decide.probabilities(logits)
            answers = (*answers, scores if mirrors is None else mirrors.merge(scores) * 0.25)
        return answers


class Attention(CompiledCell):
    """How much of the shared maps every task lets through, by place and level.

    Args:
        network: The network; it has attention branches.
    """

    def __init__(self, network: MTLN) -> None:
        super().__init__(auto_prefix=False)
        self.network = network
        self.modules = tuple(
            tuple(branch.attention[level] for branch in network.tasks.values())
            for level in range(len(network.attention))
        )
        backend = network.backend
        self.channel_axis = backend.channel_axis
        self.concat = ops.Concat(0)
        self.concat_channels = ops.Concat(backend.channel_axis)

    def construct(self, *images: Tensor) -> tuple[tuple[Tensor, ...], ...]:
        """One uint8 tensor (n_d, H, W, 3) per data set -> per task, of every level, (n, H_l, W_l).

        It is the mean of a task's soft mask over the channels, 0..1.
        """
        network = self.network
        counts = tuple([pixels.shape[0] for pixels in images])
        of_tasks = tuple([counts[d] for d in network.dataset_of_task])
        levels = [network.by_task(m, counts) for m in network.shared_maps(images, counts)]
        seen: tuple[tuple[Tensor, ...], ...] = ()  # of every level, of every task
        extracted: tuple[Tensor, ...] = ()
        for modules, extractor, shared in zip(  # noqa: B905
            self.modules, network.shared.extractors, levels
        ):
            seen_here = self.concat_channels((shared, *extracted)) if extracted else shared
            parts = split(seen_here, of_tasks)
            masks = [ops.sigmoid(module(part)) for module, part in zip(modules, parts)]  # noqa: B905
            seen = (*seen, tuple([mask.mean(self.channel_axis) for mask in masks]))
            extracted = (extractor(self.concat(masks) * shared, of_tasks),)
        return tuple([tuple([level[task] for level in seen]) for task in range(len(of_tasks))])

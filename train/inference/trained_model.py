"""A trained network that answers: built from a checkpoint, for one process.

Shapes: n = images, K = classes of a task, H, W = height and width of the images, L = levels.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from mindspore import Tensor, nn

from train import build
from train.distributed import cluster
from train.distributed.ascend import to_device
from train.distributed.cluster import Cluster
from train.distributed.collectives import OneProcess
from train.errors import UserError
from train.inference.answers import Attention, Probabilities
from train.inference.blueprint import Blueprint
from train.model.mtln import MTLN
from train.optim.optimizers import unpack
from train.process.interrupt import interrupt_kept
from train.run.checkpoint import Arrays, Checkpoint, load_checkpoint
from train.tasks.base import Task, resolve_tasks

Images = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]

_started: list[Cluster] = []


class TrainedModel:
    """A network with the parameters of a checkpoint, in evaluation mode.

    Every task sees a picture as one of the data set that it was trained on, normalised with that
    one's mean and standard deviation; all of them pass the trunk together, in one call. With
    ``seen_as`` a picture is normalised once, as one of that data set, and passes the trunk once,
    for all tasks.

    Args:
        checkpoint: The checkpoint. If the run averages its model, the average is taken, which is
            what the run evaluated.
        where: What the checkpoint is called in messages.
        tasks: Which tasks; None for all.
        seen_as: Name of a data set, or None.
        flips: Whether to average the probabilities of an image and its three mirror images.
        batch: Images of one call. What comes is cut into such batches, and the last one filled up:
            what an image is given does not depend on the others.
        device: ``auto``, ``Ascend``, ``GPU`` or ``CPU``.

    Attributes:
        blueprint: What the network is.
        inputs: The data sets as one of which it sees pictures; only one with ``seen_as``.
        tasks: Its tasks, in the order of the answers.
        image_size: Height and width that scene tasks were trained for, in pixels.

    Raises:
        UserError: The checkpoint does not fit, or there is no such task or data set.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        where: Path | str,
        tasks: Sequence[str] | None = None,
        seen_as: str | None = None,
        flips: bool = False,
        batch: int = 16,
        device: str = "auto",
    ) -> None:
        whole = Blueprint.of(checkpoint.state, where)
        self.blueprint = blueprint = whole.only(tasks)
        target = cluster.device_target(device)
        changes = {"device": target, "seed": 1}
        # A CPU has no bfloat16, and float16 is slower there; the parameters are float32 anyway.
        if target == "CPU":
            changes["precision"] = "float32"
        config = build.with_precision(blueprint.config.model_copy(update=changes))
        place = _start(target)
        build.configure_device(config, place)
        sets = list(blueprint.sets)
        self.tasks: list[Task] = resolve_tasks(config, sets)
        if seen_as is not None:
            sets = [whole.dataset(seen_as)]
            self.tasks = [replace(task, dataset=seen_as) for task in self.tasks]
        self.image_size = config.image.size
        self.batch = batch
        self.inputs = tuple(sets)
        self._network = build.build_network(config, sets, self.tasks)
        self._network.set_train(False)
        arrays = checkpoint.average or checkpoint.model
        _load(self._network, arrays, sets[0].name, self.tasks[0].name, where)
        self._probabilities = Probabilities(self._network, self.tasks, flips)
        self._attention: Attention | None = None
        self._graphs = build.build_graph_cache(config, place, OneProcess(), sets)
        self._names = [t.name for t in self.tasks], seen_as, flips
        self._compiled: set[tuple[object, ...]] = set()

    @classmethod
    def read(cls, path: Path, **options: Any) -> "TrainedModel":
        """Read a checkpoint's folder; the options are those of the class.

        Raises:
            UserError: It is not whole, does not fit, or there is no such task or data set.
        """
        try:
            checkpoint = load_checkpoint(path)
        except ValueError as error:
            raise UserError(str(error)) from None
        return cls(checkpoint, path, **options)

    @property
    def network(self) -> MTLN:
        """The network itself, in evaluation mode."""
        return self._network

    @property
    def has_attention(self) -> bool:
        """Whether its tasks have attention branches."""
        return bool(self._network.attention)

    def probabilities(self, images: Images | Sequence[Images]) -> list[Floats]:
        """uint8 RGB images (n, H, W, 3) -> for every task, (n, K) or (n, K, H, W).

        The images are the same for all ``inputs``, or one array for each: the same pictures, as
        that data set would have stored them.
        """
        count = len(images if isinstance(images, np.ndarray) else images[0])
        parts = [self._answers(batch) for batch in self._batches(images)]
        answers = [np.concatenate(of_task) for of_task in zip(*parts, strict=True)]
        return [answer[:count] for answer in answers]

    def own_probabilities(self, images: Sequence[Images]) -> list[Floats]:
        """Return the answers of every task for pictures of its own data set alone.

        With pictures of all data sets in one call, as in an evaluation, nothing is computed that
        nobody asks for. Not for a model with ``seen_as``.

        Args:
            images: Of every data set of the blueprint, at most ``batch`` uint8 RGB images
                (n_d, H, W, 3), all of one size.

        Returns:
            For every task, (n_d, K) or (n_d, K, H, W).
        """
        padded = [self._filled(of_set) for of_set in images]
        answers = self._answers(padded)
        counts = {s.name: len(i) for s, i in zip(self.blueprint.sets, images, strict=True)}
        own = zip(self.tasks, answers, strict=True)
        return [answer[: counts[task.dataset]] for task, answer in own]

    def attention(self, images: Images | Sequence[Images]) -> list[list[Floats]]:
        """Like :meth:`probabilities` -> for every task, of every level, (n, H_l, W_l) in 0..1.

        It is the mean of the task's soft mask over the channels.
        """
        count = len(images if isinstance(images, np.ndarray) else images[0])
        if self._attention is None:
            self._attention = Attention(self._network)
        parts = []
        for batch in self._batches(images):
            maps = self._call("attention", self._attention, batch)
            parts.append([[level.asnumpy() for level in of_task] for of_task in maps])
        return [
            [np.concatenate(level)[:count] for level in zip(*of_task, strict=True)]
            for of_task in zip(*parts, strict=True)
        ]

    def _batches(self, images: Images | Sequence[Images]) -> Iterator[list[Images]]:
        """Yield batches, an array for each of the inputs."""
        arrays = [images] * len(self.inputs) if isinstance(images, np.ndarray) else images
        for first in range(0, max(1, len(arrays[0])), self.batch):
            yield [self._filled(pixels[first : first + self.batch]) for pixels in arrays]

    def _filled(self, images: Images) -> Images:
        """Fill a batch up with black."""
        return np.pad(images, [(0, self.batch - len(images)), (0, 0), (0, 0), (0, 0)])

    def _answers(self, images: Sequence[Images]) -> list[Floats]:
        answers = self._call("probabilities", self._probabilities, images)
        return [answer.asnumpy() for answer in answers]

    def _call(self, name: str, cell: nn.Cell, images: Sequence[Images]) -> Any:
        key = name, *images[0].shape
        inputs = _inputs(images)
        known = (
            nullcontext() if key in self._compiled else self._graphs.compiling(*key, *self._names)
        )
        with interrupt_kept(), known:
            answers = cell(*inputs)
        self._compiled.add(key)
        return answers


def _inputs(images: Sequence[Images]) -> tuple[Tensor, ...]:
    """Images of every data set that the network has a slice for -> what it takes."""
    return to_device([Tensor(pixels) for pixels in images])


def _start(target: str) -> Cluster:
    """Configure MindSpore, once per process, which is alone whoever has started it."""
    if not _started:
        _started.append(Cluster(0, 1, target, int(os.environ.get("DEVICE_ID") or 0)))
        cluster.start(_started[0])
    return _started[0]


def _load(network: MTLN, arrays: Arrays, dataset: str, task: str, where: Path | str) -> None:
    """Give a network its parameters.

    Norms per data set, or task, of a network that has only one left are plain ones: it is theirs.
    """
    parameters, found = list(network.get_parameters()), []
    for parameter in parameters:
        layer, _, value = parameter.name.rpartition(".")
        domain = task if layer.startswith("shared.extractors.") else dataset
        values = arrays.get(parameter.name, arrays.get(f"{layer}.of.{domain}.{value}"))
        if values is None or values.shape != parameter.shape:
            raise UserError(f"{where}: has no {parameter.name} of shape {parameter.shape}")
        found.append(values.ravel())
    unpack(np.concatenate(found), parameters)

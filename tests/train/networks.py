"""Small networks and training steps that many tests make."""

from collections.abc import Sequence
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor

from train.data.batch import BatchLayout
from train.model.backend import Backend
from train.model.mtln import MTLN, DatasetInfo, split_by_branch
from train.model.trunks import Trunk, WideResNet
from train.optim.loss_balance import Balance
from train.optim.optimizers import SGD, FlatOptimizer, decay_of
from train.step.reduction import Exchange
from train.step.train_step import StepOptions, TrainStep
from train.tasks.base import Task, TaskLosses
from train.tasks.scene import SceneTask
from train.tasks.segmentation import SegmentationTask


def statistics(name: str, number: int) -> DatasetInfo:
    """Mean and standard deviation of a data set, by its number: no two of them are alike."""
    mean, std = np.array([0.4, 0.5, 0.6]), np.array([0.2, 0.25, 0.3])
    red, green, blue = np.roll(mean + 0.03 * number, number)
    widths = np.roll(std * 1.2**number, number)
    return DatasetInfo(name, (red, green, blue), (widths[0], widths[1], widths[2]))


def scene(name: str, dataset: str, num_classes: int) -> SceneTask:
    """A scene task with label smoothing."""
    return SceneTask(name, dataset, _classes(num_classes), label_smoothing=0.1)


def segmentation(name: str, dataset: str, num_classes: int, dice: float = 0.0) -> SegmentationTask:
    """A segmentation task with a narrow decoder."""
    classes = _classes(num_classes)
    return SegmentationTask(name, dataset, classes, "cover", decoder_channels=6, dice_weight=dice)


def _classes(count: int) -> tuple[str, ...]:
    return tuple(f"class{i}" for i in range(count))


# Three scene tasks, each with a data set of its own.
CLASSES = {"ucm": 3, "aid": 4, "nwpu": 2}
TASKS = [scene(name, name, count) for name, count in CLASSES.items()]
SIZE = 12


def make_network(
    backend: Backend,
    datasets: Sequence[str],
    tasks: Sequence[Task],
    trunk: Trunk | None = None,
    branch: Any = "attention",
) -> MTLN:
    """A small network in training mode; with its own trunk, the same parameters every time."""
    if trunk is None:
        ms.set_seed(5)
        trunk = WideResNet(10, 1, backend, list(datasets))
    infos = [statistics(name, number) for number, name in enumerate(datasets)]
    network = MTLN(trunk, infos, tasks, backend, branch)
    network.set_train(True)
    return network


def values(network: MTLN) -> dict[str, np.ndarray]:
    """Copies of all parameters, by name."""
    return {p.name: p.asnumpy().copy() for p in network.get_parameters()}


def trainable(network: MTLN) -> list[Parameter]:
    """The parameters in the order of the optimizer."""
    shared, branches = split_by_branch(network)
    return shared + branches


def make_step(
    network: MTLN,
    datasets: Sequence[str],
    tasks: Sequence[Task],
    optimizer: FlatOptimizer | None = None,
    balance: Balance | None = None,
    exchange: Exchange | None = None,
    options: StepOptions | None = None,
    mixed: bool = False,
    weights: Sequence[float] | None = None,
) -> TrainStep:
    """A step of plain gradient descent, unless something else is asked for."""
    masks = {t.dataset: (t.label_space,) for t in tasks if t.label_space is not None}
    layout = BatchLayout(list(datasets), masks, mixed)
    return TrainStep(
        network,
        TaskLosses(tasks, layout, weights or [1.0] * len(datasets), network.backend),
        optimizer or SGD(decay_of(trainable(network), 0.0), 0.0, nesterov=False),
        balance or Balance(len(tasks)),
        exchange or Exchange(),
        options or StepOptions(),
    )


def make_scene_network(norm: Any = "batch") -> MTLN:
    """A network of the three scene tasks `TASKS`, each with a data set of its own."""
    return make_network(Backend(norm), list(CLASSES), TASKS)


def make_scene_batch(images: int = 2, seed: int = 0) -> list[Tensor]:
    """A batch for `TASKS`: the images of each data set, then the labels of each task."""
    rng = np.random.default_rng(seed)
    pixels = [rng.integers(0, 256, (images, SIZE, SIZE, 3), np.uint8) for _ in CLASSES]
    labels = [rng.integers(0, count, images).astype(np.int32) for count in CLASSES.values()]
    return [Tensor(x) for x in [*pixels, *labels]]

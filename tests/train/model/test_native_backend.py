"""The network of native operators against the one of MindSpore's own: same names, same numbers."""

from collections.abc import Callable, Sequence

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, nn

from train.model.mtln import MTLN, DatasetInfo, TaskInfo
from train.model.resnet import BasicBlock, ResNet
from train.model.stock_backend import Layers, Norm
from train.model.wide_resnet import WideResNet
from train.native import library
from train.optim.loss_balance import Balance
from train.optim.optimizers import SGD, decay_of, scalar
from train.step.reduction import Exchange
from train.step.train_step import BatchLayout, TrainStep, split_by_branch

try:
    library.load()
except library.NativeUnavailable as reason:
    pytest.skip(f"native CPU operators: {reason}", allow_module_level=True)

from train.model.native_backend import NativeLayers

Array = np.ndarray
DATASETS = {"ucm": 2, "gid": 3}  # with their images in a batch
# Not in the order of the data sets, and one feeds two: maps are rearranged for the tasks.
JOINT = [
    TaskInfo("pixels", "gid", 4, "segmentation"),
    TaskInfo("ucm", "ucm", 2),
    TaskInfo("scene", "gid", 3),
]
SCENES = [TaskInfo("ucm", "ucm", 2), TaskInfo("gid", "gid", 3)]
# Odd, and so large that maps on which batch norm finds next to nothing to normalise are few.
SIZE = 13
RESNET_SIZE = 37


def wide_resnet(layers: Layers) -> WideResNet:
    return WideResNet(10, 1, layers, list(DATASETS))


def resnet(layers: Layers) -> ResNet:
    return ResNet(BasicBlock, (1, 1, 1, 1), layers, list(DATASETS))


def make_network(
    layers: Layers, trunk: Callable[[Layers], WideResNet | ResNet], tasks: Sequence[TaskInfo]
) -> MTLN:
    ms.set_seed(5)
    datasets = [DatasetInfo(name, (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)) for name in DATASETS]
    network = MTLN(trunk(layers), datasets, tasks, layers, decoder_channels=6)
    rng = np.random.default_rng(3)
    for parameter in network.get_parameters():
        # Everything is drawn, so that no gradient is zero because of where training begins.
        drawn = parameter.asnumpy() + rng.normal(0, 0.1, parameter.shape).astype(np.float32)
        parameter.set_data(Tensor(np.abs(drawn) if "variance" in parameter.name else drawn))
    network.set_train(True)
    return network


def make_batch(step: int, size: int) -> list[Tensor]:
    rng = np.random.default_rng(step)
    images = [rng.integers(0, 256, (n, size, size, 3), np.uint8) for n in DATASETS.values()]
    labels = [rng.integers(0, 2, n).astype(np.int32) for n in DATASETS.values()]
    mask = rng.integers(0, 4, (3, size, size), np.uint8)
    return [Tensor(array) for array in (*images, *labels, mask)]


def train(network: MTLN, tasks: Sequence[TaskInfo], size: int, steps: int) -> Array:
    """Losses and gradient norm of every step."""
    shared, branches = split_by_branch(network)
    sgd = SGD(decay_of(shared + branches, 1e-3), 0.9, True)
    masks = [0 if task.kind == "segmentation" else None for task in tasks]
    layout = BatchLayout([1.0, 1.0], masks)
    balance = Balance(len(tasks))
    step = TrainStep(network, sgd, balance, Exchange(), layout, True, 0.1, 0.5, 0.0)
    used = 4 + (masks != [None] * len(tasks))
    batches = [make_batch(number, size)[:used] for number in range(steps)]
    rows = [step(scalar(0.02), scalar(n + 1), *batch) for n, batch in enumerate(batches)]
    return np.stack([row.asnumpy() for row in rows])


def parameters(network: nn.Cell) -> dict[str, Array]:
    return {p.name: p.asnumpy() for p in network.get_parameters()}


def assert_close(got: Array, wanted: Array, name: str) -> None:
    scale = np.abs(wanted).max() + 1e-3
    np.testing.assert_allclose(got / scale, wanted / scale, atol=2e-4, err_msg=name)


@pytest.mark.parametrize(
    ("trunk", "norm", "tasks"),
    [(wide_resnet, "domain", JOINT), (wide_resnet, "group", JOINT), (resnet, "batch", SCENES)],
    ids=["wide_resnet-domain", "wide_resnet-group", "resnet-batch"],
)
def test_training_and_evaluation_are_those_of_the_stock_layers(
    trunk: Callable[[Layers], WideResNet | ResNet],
    norm: Norm,
    tasks: Sequence[TaskInfo],
    graph_mode: None,
) -> None:
    # Deep networks with batch norm multiply a rounding error that turns a ReLU over: one step.
    size, steps = (RESNET_SIZE, 1) if trunk is resnet else (SIZE, 3)
    stock = make_network(Layers(norm), trunk, tasks)
    native = make_network(NativeLayers(norm), trunk, tasks)
    assert list(parameters(native)) == list(parameters(stock))
    for network in (stock, native):
        network.set_train(False)
    images = make_batch(9, size)[:2]
    for task, own, other in zip(tasks, native(*images), stock(*images), strict=True):
        assert own.shape == other.shape
        assert_close(own.asnumpy(), other.asnumpy(), task.name)
    for network in (stock, native):
        network.set_train(True)
    wanted, got = train(stock, tasks, size, steps), train(native, tasks, size, steps)
    np.testing.assert_allclose(got, wanted, rtol=1e-4)
    before, after = parameters(stock), parameters(native)
    for name in before:
        assert_close(after[name], before[name], name)

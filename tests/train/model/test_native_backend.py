"""The network of native operators against the one of MindSpore's own: same names, same numbers."""

from collections.abc import Callable, Sequence

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, nn

from tests.train import networks
from train.model.backend import Backend, Norm
from train.model.mtln import MTLN, moving_statistics
from train.model.trunks import BasicBlock, ResNet, WideResNet
from train.native import library
from train.optim.optimizers import SGD, decay_of, scalar
from train.tasks.base import Task

try:
    library.load()
except library.NativeUnavailable as reason:
    pytest.skip(f"native CPU operators: {reason}", allow_module_level=True)

from train.model.backend import NativeBackend

Array = np.ndarray
DATASETS = {"ucm": 2, "gid": 3}  # with their images in a batch
# Not in the order of the data sets, and one feeds two: maps are rearranged for the tasks.
JOINT = [
    networks.segmentation("pixels", "gid", 4, dice=0.5),
    networks.scene("ucm", "ucm", 2),
    networks.scene("scene", "gid", 3),
]
SCENES = [networks.scene("ucm", "ucm", 2), networks.scene("gid", "gid", 3)]
# Odd, and so large that maps on which batch norm finds next to nothing to normalise are few.
SIZE = 13
RESNET_SIZE = 37


def wide_resnet(backend: Backend) -> WideResNet:
    return WideResNet(10, 1, backend, list(DATASETS))


def resnet(backend: Backend) -> ResNet:
    return ResNet(BasicBlock, (1, 1, 1, 1), backend, list(DATASETS))


def make_network(
    backend: Backend, trunk: Callable[[Backend], WideResNet | ResNet], tasks: Sequence[Task]
) -> MTLN:
    ms.set_seed(5)
    network = networks.make_network(backend, list(DATASETS), tasks, trunk(backend))
    rng = np.random.default_rng(3)
    for parameter in network.get_parameters():
        # Everything is drawn, so that no gradient is zero because of where training begins.
        drawn = parameter.asnumpy() + rng.normal(0, 0.1, parameter.shape).astype(np.float32)
        parameter.set_data(Tensor(np.abs(drawn) if "variance" in parameter.name else drawn))
    return network


def make_batch(step: int, size: int) -> list[Tensor]:
    rng = np.random.default_rng(step)
    images = [rng.integers(0, 256, (n, size, size, 3), np.uint8) for n in DATASETS.values()]
    labels = [rng.integers(0, 2, n).astype(np.int32) for n in DATASETS.values()]
    mask = rng.integers(0, 4, (3, size, size), np.uint8)
    return [Tensor(array) for array in (*images, *labels, mask)]


def train(network: MTLN, tasks: Sequence[Task], size: int, steps: int) -> Array:
    """Losses and gradient norm of every step."""
    sgd = SGD(decay_of(networks.trainable(network), 1e-3), 0.9, True)
    step = networks.make_step(network, list(DATASETS), tasks, sgd)
    used = 5 if tasks is JOINT else 4
    batches = [make_batch(number, size)[:used] for number in range(steps)]
    rows = [step(scalar(0.02), *batch) for batch in batches]
    return np.stack([row.asnumpy() for row in rows])


def parameters(network: nn.Cell) -> dict[str, Array]:
    return {p.name: p.asnumpy() for p in network.get_parameters()}


def assert_close(got: Array, wanted: Array, name: str) -> None:
    scale = np.abs(wanted).max() + 1e-3
    np.testing.assert_allclose(got / scale, wanted / scale, atol=2e-4, err_msg=name)


def give_statistics(network: MTLN) -> None:
    """As training would: with those of the start, maps and rounding grow from layer to layer."""
    statistics = moving_statistics(network)
    half = len(statistics) // 2
    for number, (mean, variance) in enumerate(
        zip(statistics[:half], statistics[half:], strict=True)
    ):
        drawn = np.random.default_rng(number)
        mean.set_data(Tensor(drawn.normal(0, 0.3, mean.shape).astype(np.float32)))
        variance.set_data(Tensor(drawn.uniform(2, 30, mean.shape).astype(np.float32)))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("trunk", "norm", "tasks"),
    [(wide_resnet, "domain", JOINT), (wide_resnet, "group", JOINT), (resnet, "batch", SCENES)],
    ids=["wide_resnet-domain", "wide_resnet-group", "resnet-batch"],
)
def test_training_and_evaluation_are_those_of_the_stock_layers(
    trunk: Callable[[Backend], WideResNet | ResNet],
    norm: Norm,
    tasks: Sequence[Task],
    graph_mode: None,
) -> None:
    # Deep networks with batch norm multiply a rounding error that turns a ReLU over: one step.
    size, steps = (RESNET_SIZE, 1) if trunk is resnet else (SIZE, 3)
    stock = make_network(Backend(norm), trunk, tasks)
    native = make_network(NativeBackend(norm), trunk, tasks)
    assert list(parameters(native)) == list(parameters(stock))
    for network in (stock, native):
        give_statistics(network)
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

"""A trunk that is frozen at first, or has a smaller rate: against numpy, on both back ends."""

from typing import Any

import mindspore as ms
import numpy as np
import pytest
from mindspore import Parameter, Tensor, nn

from tests.train.networks import SIZE, make_network, make_step, scene, trainable, values
from train.model.backend import Backend, NativeBackend
from train.model.mtln import MTLN, is_trunk, split_by_branch
from train.native import library
from train.optim.optimizers import SGD, AdamW, FlatOptimizer, TrunkOptions, decay_of, pack, scalar
from train.step.train_step import StepOptions, TrainStep

pytestmark = pytest.mark.usefixtures("graph_mode")

DECAY, MU, BETAS, EPSILON = 0.1, 0.9, (0.8, 0.95), 1e-3
FROZEN = 2
TASKS = [scene("ucm", "ucm", 3)]


@pytest.fixture(params=["stock", "native"])
def backend(request: pytest.FixtureRequest) -> Backend:
    if request.param == "stock":
        return Backend()
    try:
        library.load()
    except library.NativeUnavailable as reason:
        pytest.fail(str(reason))
    return NativeBackend()


def make_optimizer(name: str, parameters: list[Parameter], trunk: TrunkOptions) -> FlatOptimizer:
    decay = decay_of(parameters, DECAY)
    if name == "adamw":
        return AdamW(decay, *BETAS, EPSILON, trunk)
    return SGD(decay, MU, name == "nesterov", trunk)


class NumpyOptimizer:
    """Every value by itself, in float64; those that are frozen do not even count the step."""

    def __init__(self, name: str, values: Any, decay: Any, factors: Any) -> None:
        self.name, self.values, self.decay, self.factors = name, values, decay, factors
        self.first, self.second, self.count = (np.zeros(len(values)) for _ in range(3))

    def update(self, gradient: Any, live: Any, rate: float) -> None:
        rates = rate * self.factors
        self.count = self.count + live
        if self.name == "adamw":
            first = BETAS[0] * self.first + (1 - BETAS[0]) * gradient
            second = BETAS[1] * self.second + (1 - BETAS[1]) * gradient**2
            count = np.maximum(self.count, 1)
            mean, square = first / (1 - BETAS[0] ** count), second / (1 - BETAS[1] ** count)
            change = mean / (np.sqrt(square) + EPSILON) + self.decay * self.values
            self.second = np.where(live, second, self.second)
        else:
            gradient = gradient + self.decay * self.values
            first = MU * self.first + gradient
            change = gradient + MU * first if self.name == "nesterov" else first
        self.first = np.where(live, first, self.first)
        self.values = np.where(live, self.values - rates * change, self.values)


@pytest.mark.parametrize("rate", [1.0, 0.1])
@pytest.mark.parametrize("name", ["momentum", "nesterov", "adamw"])
def test_updates_against_numpy(name: str, rate: float, backend: Backend) -> None:
    """Frozen for some steps, of which one is skipped; then with a rate of its own."""
    rng = np.random.default_rng(1)
    shapes = [(4, 3), (5,), (2, 7)]
    parameters = [
        Parameter(Tensor(rng.normal(0, 1, shape).astype(np.float32)), name=f"p{i}")
        for i, shape in enumerate(shapes)
    ]
    size = 12 + 5
    optimizer = make_optimizer(name, parameters, TrunkOptions(size, rate, thaws=True))
    cells = {frozen: backend.update(optimizer, parameters, frozen) for frozen in (True, False)}
    count = sum(p.size for p in parameters)
    in_trunk = np.arange(count) < size
    before = pack(parameters)
    decay = decay_of(parameters, DECAY).astype(np.float64)
    expected = NumpyOptimizer(name, before.astype(np.float64), decay, np.where(in_trunk, rate, 1.0))
    for step in range(6):
        frozen, finite = step < FROZEN + 1, step != 1
        gradient = rng.normal(0, 1, count)
        inputs = scalar(0.5), Tensor(finite), scalar(0.2 / (step + 1))
        cells[frozen](Tensor(gradient.astype(np.float32)), *inputs)
        if finite:
            expected.update(0.5 * gradient, ~(in_trunk & frozen), 0.2 / (step + 1))
        found = pack(parameters)
        if frozen:
            np.testing.assert_array_equal(found[:size], before[:size])
            for slot in optimizer.slots.values():
                assert not slot.asnumpy()[:size].any()
        np.testing.assert_allclose(found, expected.values, rtol=1e-4, atol=1e-5)
    assert (found[:size] != before[:size]).all()


class TinyTrunk(nn.Cell):
    """A convolution and a norm: quick to compile."""

    channels, strides = (8, 16), (1, 2)

    def __init__(self, backend: Backend) -> None:
        super().__init__()
        self.stem, self.conv = backend.stem(8, 3), backend.conv(8, 16, 3, 2)
        self.norm1, self.norm2 = backend.norm(8, relu=True), backend.norm(16)

    def construct(self, x: Tensor, counts: Any) -> list[Tensor]:
        first = self.norm1(self.stem(x), counts)
        return [first, self.norm2(self.conv(first), counts)]


def make_steps(backend: Backend, name: str) -> tuple[MTLN, FlatOptimizer, dict[bool, TrainStep]]:
    """A network with batch norm, and its steps: with a frozen trunk, and without."""
    network = make_network(backend, ["ucm"], TASKS, TinyTrunk(backend))
    shared, _ = split_by_branch(network)
    size = sum(p.size for p in shared if is_trunk(p.name))
    optimizer = make_optimizer(name, trainable(network), TrunkOptions(size, 0.5, thaws=True))
    steps = {
        frozen: make_step(
            network,
            ["ucm"],
            TASKS,
            optimizer,
            options=StepOptions(frozen_trunk=frozen),
        )
        for frozen in (True, False)
    }
    return network, optimizer, steps


@pytest.mark.slow
def test_a_network_whose_trunk_is_frozen_at_first(backend: Backend) -> None:
    """Bit for bit it stays, its statistics too; all else learns, and then the trunk as well.

    The trunk computes what it does in evaluation, so the losses are those of such a network.
    """
    network, optimizer, steps = make_steps(backend, "adamw")
    rng = np.random.default_rng(2)
    pixels = rng.integers(0, 256, (4, SIZE, SIZE, 3), np.uint8)
    batch = [Tensor(pixels), Tensor(rng.integers(0, 3, 4).astype(np.int32))]
    for p in network.get_parameters():
        if is_trunk(p.name) and p.name.endswith(("moving_mean", "moving_variance")):
            p.set_data(Tensor(rng.uniform(0.5, 1.5, p.shape).astype(np.float32)))
    before = values(network)
    trunk = [name for name in before if is_trunk(name)]
    statistics = [name for name in before if name.split(".")[-1].startswith("moving")]

    network.freeze_trunk(True)
    results = [steps[True](scalar(0.05), *batch).asnumpy() for _ in range(FROZEN)]
    after = values(network)
    for name in trunk:
        np.testing.assert_array_equal(after[name], before[name], err_msg=name)
    moved = [name for name in before if not is_trunk(name)]
    assert all((after[name] != before[name]).any() for name in moved)
    assert set(statistics) & set(moved) and set(statistics) & set(trunk)

    network.freeze_trunk(False)
    for _ in range(FROZEN):
        assert steps[False](scalar(0.05), *batch).asnumpy()[-1] == 1
    thawed = values(network)
    assert all((thawed[name] != after[name]).any() for name in trunk)
    assert optimizer.updates.asnumpy().tolist() == [FROZEN, 2 * FROZEN]

    for p in network.get_parameters():
        p.set_data(Tensor(before[p.name]))
    ms.set_context(mode=ms.PYNATIVE_MODE)
    network.freeze_trunk(True)
    losses = steps[True].losses(batch, Tensor(np.ones(1, np.float32))).asnumpy()
    np.testing.assert_allclose(results[0][:1], losses, rtol=1e-4)

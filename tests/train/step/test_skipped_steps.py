"""A step whose gradient is not finite: of all that is learned, nothing moves."""

from collections.abc import Callable

import numpy as np
import pytest
from mindspore import Parameter, Tensor

from tests.train.networks import (
    CLASSES,
    TASKS,
    make_network,
    make_scene_batch,
    make_step,
    trainable,
)
from train.model.backend import Backend, NativeBackend
from train.optim.loss_balance import FAMO, Balance, Uncertainty
from train.optim.optimizers import SGD, AdamW, FlatOptimizer, Floats, decay_of, scalar

pytestmark = [pytest.mark.usefixtures("graph_mode"), pytest.mark.slow]


def adamw(decay: Floats) -> AdamW:
    return AdamW(decay, 0.9, 0.99, 1e-6)


def nesterov(decay: Floats) -> SGD:
    return SGD(decay, 0.9, nesterov=True)


def heavy_ball(decay: Floats) -> SGD:
    return SGD(decay, 0.9, nesterov=False)


@pytest.mark.parametrize(
    ("backend", "optimizer", "balance"),
    [
        pytest.param(lambda: Backend("domain"), adamw, lambda: FAMO(3, 0.025, 1e-3), id="stock"),
        pytest.param(
            lambda: NativeBackend("batch"), nesterov, lambda: FAMO(3, 0.025, 1e-3), id="native"
        ),
        pytest.param(
            lambda: NativeBackend("domain"), adamw, lambda: Uncertainty(3, 0.1), id="native_adamw"
        ),
        pytest.param(
            lambda: NativeBackend("group"), heavy_ball, lambda: Balance(3), id="native_group"
        ),
    ],
)
def test_a_step_that_is_not_finite_leaves_no_trace(
    backend: Callable[[], Backend],
    optimizer: Callable[[Floats], FlatOptimizer],
    balance: Callable[[], Balance],
) -> None:
    network = make_network(backend(), list(CLASSES), TASKS)
    own_optimizer = optimizer(decay_of(trainable(network), 1e-3))
    own_balance = balance()
    step = make_step(network, list(CLASSES), TASKS, own_optimizer, own_balance)
    learned: dict[str, Parameter] = {p.name: p for p in network.get_parameters()}
    learned |= own_optimizer.slots | own_optimizer.counters | own_balance.state

    def now() -> dict[str, Floats]:
        return {name: parameter.asnumpy().copy() for name, parameter in learned.items()}

    def made(seed: int) -> bool:
        return bool(step(scalar(0.1), *make_scene_batch(seed=seed)).asnumpy()[-1])

    first = now()
    assert made(1)
    before = now()
    assert all((before[name] != first[name]).any() for name in learned)
    stem = learned["shared.trunk.stem.weight"]
    stem.set_data(Tensor(np.full(stem.shape, np.nan, np.float32)))
    assert not made(2) and not made(3)
    stem.set_data(Tensor(before[stem.name]))
    for name, values in now().items():
        np.testing.assert_array_equal(values, before[name], err_msg=name)
    assert made(2)
    after = now()
    assert all(np.isfinite(values).all() for values in after.values())
    assert all((after[name] != before[name]).any() for name in learned)

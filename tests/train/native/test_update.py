"""The native update of all parameters against numpy, for each of its settings."""

from collections.abc import Sequence

import numpy as np
import pytest
from mindspore import Parameter, Tensor

from tests.train.native_calls import Array, code, native, options
from train.model.backend import Backend, NativeBackend
from train.optim.optimizers import SGD, AdamW, FlatOptimizer, scalar

MU = 0.8
# A scalar, an empty tensor, and one that is worth several threads.
SHAPES: Sequence[tuple[int, ...]] = [(3, 2), (), (0, 4), (5,), (70_001,), (2, 1, 3)]
SIZE = sum(int(np.prod(shape)) for shape in SHAPES)


def drawn(seed: int, *shape: int) -> Array:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("finite", [1.0, 0.0])
@pytest.mark.parametrize("nesterov", [True, False])
def test_sgd(nesterov: bool, finite: float, threads: int) -> None:
    gradient, decay, moments = drawn(0, 3, SIZE)
    parameters = [drawn(10 + i, *shape) for i, shape in enumerate(SHAPES)]
    values = np.concatenate([p.ravel() for p in parameters]).astype(np.float64)
    factor, rate = 0.5, 0.1
    m, w = moments.astype(np.float64), values
    if finite:
        g = factor * gradient + decay * values
        m = MU * m + g
        w = values - rate * (g + MU * m if nesterov else m)
    else:
        gradient[::2] = np.nan
    scalars = [np.array(x, np.float32) for x in (factor, rate, finite, MU)]
    inputs = [gradient, *scalars, decay, moments, *parameters, options(int(nesterov))]
    assert code("sgd", inputs, [np.zeros(1, np.float32)], threads) == 0
    np.testing.assert_allclose(moments, m, atol=1e-6)
    np.testing.assert_allclose(np.concatenate([p.ravel() for p in parameters]), w, atol=1e-6)


@pytest.mark.parametrize("finite", [1.0, 0.0])
def test_restore(finite: float) -> None:
    kept = drawn(0, SIZE)
    parameters = [drawn(10 + i, *shape) for i, shape in enumerate(SHAPES)]
    now = np.concatenate([p.ravel() for p in parameters])
    inputs = [kept, np.array(finite, np.float32), *parameters]
    assert code("restore", inputs, [np.zeros(1, np.float32)]) == 0
    found = np.concatenate([p.ravel() for p in parameters])
    np.testing.assert_array_equal(found, now if finite else kept)


def updated(backend: Backend, optimizer: FlatOptimizer) -> list[Array]:
    """Parameters and state after some updates, of which some are of no number."""
    shapes = [(3, 2), (5,), (2, 1, 3)]
    parameters = [Parameter(Tensor(drawn(i, *s)), name=f"p{i}") for i, s in enumerate(shapes)]
    update = backend.update(optimizer, parameters)
    for number, finite in enumerate([True, False, True, True], start=1):
        gradient = drawn(20 + number, 17) if finite else np.full(17, np.inf, np.float32)
        numbers = scalar(0.5 / number), Tensor(finite), scalar(0.1 * number)
        update(Tensor(gradient), *numbers)
    state = *optimizer.slots.values(), *optimizer.counters.values()
    return [p.asnumpy().copy() for p in (*parameters, *state)]


@pytest.mark.parametrize("kind", ["nesterov", "heavy ball", "adamw"])
def test_an_update_in_a_graph_is_that_of_the_stock_backend(kind: str, graph_mode: None) -> None:
    """Which is numpy's: tests/train/step/test_train_step.py."""
    native()
    decay = np.full(17, 0.1, np.float32)

    def optimizer() -> FlatOptimizer:
        if kind == "adamw":
            return AdamW(decay, 0.9, 0.99, 1e-6)
        return SGD(decay, MU, nesterov=kind == "nesterov")

    wanted, got = updated(Backend(), optimizer()), updated(NativeBackend(), optimizer())
    for one, other in zip(got, wanted, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("backend", [Backend, NativeBackend])
def test_in_a_graph_parameters_come_back_only_after_a_step_that_does_not_count(
    backend: type[Backend], graph_mode: None
) -> None:
    native()
    shapes = [(3, 2), (5,), (2, 1, 3)]
    parameters = [Parameter(Tensor(drawn(i, *s)), name=f"p{i}") for i, s in enumerate(shapes)]
    restore, before = backend().restore(parameters), drawn(9, 17)
    now = np.concatenate([p.asnumpy().ravel() for p in parameters])
    for finite, expected in ((True, now), (False, before)):
        restore(Tensor(before), Tensor(finite))
        found = np.concatenate([p.asnumpy().ravel() for p in parameters])
        np.testing.assert_array_equal(found, expected)

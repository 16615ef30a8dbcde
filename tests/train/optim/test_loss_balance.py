"""The rules of loss balance in a compiled cell, against numpy."""

from collections.abc import Callable
from typing import Any

import mindspore as ms
import numpy as np
import pytest
from mindspore import Parameter, Tensor, nn, ops

from train.config.sections import BalanceConfig
from train.optim.loss_balance import FAMO, Balance, build_balance

TASKS = ["ucm", "aid", "nwpu"]
RULES: dict[str, dict[str, Any]] = {
    "equal": {},
    "fixed": {"weights": {"nwpu": 3.0, "ucm": 0.5, "aid": 2.0}},
    "uncertainty": {"learning_rate": 0.1},
    "dwa": {"temperature": 0.5},
    "famo": {"learning_rate": 2.0, "decay": 0.05},
}
PERIOD = 3
STEPS = 4 * PERIOD


@pytest.fixture(autouse=True)
def graph_mode() -> None:
    ms.set_context(mode=ms.GRAPH_MODE)
    ms.set_device("CPU")


class Step(nn.Cell):
    """What the training step does with a rule: weights first, learn when the update is made."""

    def __init__(self, balance: Balance) -> None:
        super().__init__(auto_prefix=False)
        self.balance = balance

    def construct(self, losses: Tensor, after: Tensor, finite: Tensor) -> Tensor:
        weights = self.balance(losses)
        self.balance.update(losses, after, finite)
        return weights


def make(rule: str) -> Step:
    config = BalanceConfig.model_validate({"rule": rule, **RULES[rule]})
    return Step(build_balance(config, TASKS))


def drawn_losses() -> np.ndarray:
    """Losses (STEPS, 2, K) before and after the update: of different size and speed of falling."""
    rng = np.random.default_rng(4)
    falling = np.exp(-np.outer(np.arange(STEPS), [0.05, 0.3, 0.01])) * [0.1, 3.0, 40.0]
    before = falling * rng.uniform(0.8, 1.2, falling.shape)
    after = before * rng.uniform(0.7, 1.05, falling.shape)
    return np.array([before, after], np.float32).swapaxes(0, 1)


LOSSES = drawn_losses()


def run(step: Step, first: int, last: int) -> np.ndarray:
    """The weights of some steps; consolidates where a period ends."""
    weights = []
    for number in range(first, last):
        losses, after = (Tensor(values) for values in LOSSES[number])
        weights.append(step(losses, after, Tensor(True)).asnumpy())
        if (number + 1) % PERIOD == 0:
            step.balance.consolidate()
    return np.array(weights)


def state_of(step: Step) -> dict[str, np.ndarray]:
    return {name: p.asnumpy().copy() for name, p in step.balance.state.items()}


def numpy_equal(losses: np.ndarray) -> np.ndarray:
    return np.ones((STEPS, 3))


def numpy_fixed(losses: np.ndarray) -> np.ndarray:
    return np.tile([0.5, 2.0, 3.0], (STEPS, 1))


def numpy_uncertainty(losses: np.ndarray) -> np.ndarray:
    """Descent on the paper's total, with its slope by finite differences."""
    s, weights, h = np.zeros(3), [], 1e-5
    for loss, _ in losses:
        weights.append(np.exp(-s))
        total = [np.exp(-shifted) * loss + shifted / 2 for shifted in (s + h, s - h)]
        s = s - 0.1 * (total[0] - total[1]) / (2 * h)
    return np.array(weights)


def numpy_dwa(losses: np.ndarray) -> np.ndarray:
    means = losses[:, 0].reshape(-1, PERIOD, 3).mean(1)
    weights = []
    for period in range(len(means)):
        if period < 2:
            weight = np.ones(3)
        else:
            power = np.exp(means[period - 1] / means[period - 2] / 0.5)
            weight = 3 * power / power.sum()
        weights += [weight] * PERIOD
    return np.array(weights)


def numpy_famo(losses: np.ndarray) -> np.ndarray:
    """Algorithm 1 with the Jacobian of softmax written out."""
    xi, weights = np.zeros(3), []
    for before, after in losses:
        z = np.exp(xi) / np.exp(xi).sum()
        direction = z / before / (z / before).sum()
        weights.append(3 * direction)
        jacobian = np.diag(z) - np.outer(z, z)
        delta = jacobian.T @ (np.log(before) - np.log(after))
        xi = xi - 2.0 * (delta + 0.05 * xi)
    return np.array(weights)


NUMPY: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "equal": numpy_equal,
    "fixed": numpy_fixed,
    "uncertainty": numpy_uncertainty,
    "dwa": numpy_dwa,
    "famo": numpy_famo,
}


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_over_several_periods(rule: str) -> None:
    """Weights are numpy's, new ones are no new graph, skipped steps and restarts do no harm."""
    step = make(rule)
    middle = STEPS // 2 + 1  # within a period
    first = run(step, 0, middle)
    kept, compiled = state_of(step), set(step.compile_cache)
    nothing = Tensor(np.full(3, np.nan, np.float32))
    step(nothing, nothing, Tensor(False))
    for name, values in state_of(step).items():
        np.testing.assert_array_equal(values, kept[name], err_msg=name)
    second = run(step, middle, STEPS)
    found, expected = np.concatenate([first, second]), NUMPY[rule](LOSSES.astype(np.float64))
    np.testing.assert_allclose(found, expected, rtol=2e-4)
    changes = np.ptp(expected, axis=0) / expected.mean(0)
    assert changes.max() == 0 if rule in ("equal", "fixed") else changes.min() > 0.2

    for name, values in kept.items():
        assert values.dtype == np.float32
        step.balance.state[name].set_data(Tensor(values))
    np.testing.assert_array_equal(run(step, middle, STEPS), second)
    assert step.compile_cache == compiled


def test_what_the_rules_ask_for() -> None:
    for rule in RULES:
        balance = make(rule).balance
        assert balance.needs_losses == balance.needs_losses_after == (rule == "famo")
        assert balance.is_learned == bool(balance.state)
        assert balance.trainable_params() == []
        names = [p.name for p in balance.get_parameters()]
        assert names == [f"balance.{name}" for name in balance.state]


def test_nothing_is_learned_from_an_update_that_went_to_infinity() -> None:
    for value in (np.inf, np.nan):
        famo = FAMO(2, 0.1, 0.0)
        losses = Tensor(np.array([1.0, 2.0], np.float32))
        famo.update(losses, Tensor(np.array([1.0, value], np.float32)), Tensor(True))
        assert (famo.logits.asnumpy() == 0).all()


def test_a_period_without_an_update_does_not_count() -> None:
    step = make("dwa")
    run(step, 0, PERIOD)
    kept = state_of(step)
    step.balance.consolidate()
    for name, values in state_of(step).items():
        np.testing.assert_array_equal(values, kept[name], err_msg=name)


def test_famo_learns_against_finite_differences() -> None:
    """The gradient by the logits of how much the weighted logarithms have fallen."""
    rng = np.random.default_rng(0)
    xi, before, after = rng.normal(size=4), rng.uniform(0.1, 5, 4), rng.uniform(0.1, 5, 4)
    famo = FAMO(4, 0.1, 0.3)
    famo.logits.set_data(Tensor(xi.astype(np.float32)))

    def objective(logits: np.ndarray) -> float:
        z = np.exp(logits) / np.exp(logits).sum()
        return float(z @ np.log(before / after) + 0.3 / 2 * (logits**2).sum())

    shifts = 1e-5 * np.eye(4)
    slopes = [(objective(xi + d) - objective(xi - d)) / 2e-5 for d in shifts]
    found = famo.gradient(*(Tensor(x.astype(np.float32)) for x in (before, after)))
    np.testing.assert_allclose(found.asnumpy(), slopes, rtol=1e-4)


def test_famo_favours_the_task_that_falls_less() -> None:
    """And its weights are constants: the gradient of the total is the weighted sum of gradients."""
    famo = FAMO(2, 0.1, 0.0)
    losses, after = np.array([1.0, 2.0], np.float32), np.array([0.5, 1.9], np.float32)
    famo.update(Tensor(losses), Tensor(after), Tensor(True))
    z = famo.logits.asnumpy()
    assert z[1] > z[0]

    class Total(nn.Cell):
        def __init__(self) -> None:
            super().__init__()
            self.x = Parameter(Tensor(losses), name="x")

        def construct(self) -> Tensor:
            own = self.x * self.x
            return (famo(own) * own).sum()

    total = Total()
    gradient = ms.grad(total, None, total.x)().asnumpy()
    share = np.exp(z) / losses**2
    np.testing.assert_allclose(gradient, 2 * share / share.sum() * 2 * losses, rtol=1e-5)


@pytest.mark.slow
def test_losses_of_nothing_leave_all_numbers_finite() -> None:
    """A task without a valid pixel in a batch has loss 0."""
    for rule in ("uncertainty", "dwa", "famo"):
        balance = make(rule).balance
        losses = Tensor(np.array([0.0, 1.0, 2.0], np.float32))
        for _ in range(3):
            balance.update(losses, losses, Tensor(True))
            balance.consolidate()
        assert np.isfinite(balance(losses).asnumpy()).all()
        assert all(np.isfinite(p.asnumpy()).all() for p in balance.state.values())


@pytest.mark.slow
def test_one_task_has_weight_one() -> None:
    for rule in ("equal", "dwa", "famo"):
        balance = build_balance(BalanceConfig.model_validate({"rule": rule}), ["only"])
        loss = Tensor(np.array([3.0], np.float32))
        for _ in range(3):
            balance.update(loss, loss * 0.5, Tensor(True))
            balance.consolidate()
        assert balance(loss).asnumpy() == pytest.approx(1.0)


def test_dwa_does_not_overflow() -> None:
    balance = build_balance(BalanceConfig(rule="dwa", temperature=0.01), TASKS)
    for factor in (1.0, 1000.0):
        losses = Tensor(np.array([1.0, 1.0, factor], np.float32))
        balance.update(losses, losses, Tensor(True))
        balance.consolidate()
    weights = balance(ops.ones(3)).asnumpy()
    np.testing.assert_allclose(weights, [0, 0, 3], atol=1e-6)

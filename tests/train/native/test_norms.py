"""The native batch and group norm against float64 numpy, forward and backward."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.train.native.checks import assert_close, assert_equal, assert_refused
from tests.train.native_calls import Array, call, grid, native, options, parameters, threads_used

# Sums are taken in parts and in double precision, so that little more than the rounding of inputs
# and coefficients is left: some 6e-8, times the few operations that a value passes.
TOLERANCE = 2e-6
EPSILON = 1e-5

NONE, RELU, GATE = range(3)

channels = st.sampled_from([1, 3, 5, 16, 17, 32, 40, 64, 130])
sizes = st.tuples(st.integers(1, 9), st.integers(1, 9), channels)  # H, W, C
counts_of_tasks = st.sampled_from([(1,), (3,), (2, 1), (1, 3, 2)])
activations = st.sampled_from([NONE, RELU, GATE])


def sigmoid(x: Array) -> Array:
    y: Array = 1 / (1 + np.exp(-x))
    return y


def standardised(x: Array, axes: tuple[int, ...]) -> tuple[Array, Array]:
    """x^ = (x - mean) / sigma, and sigma."""
    sigma = np.sqrt(x.var(axes, keepdims=True) + EPSILON)
    x_hat: Array = (x - x.mean(axes, keepdims=True)) / sigma
    return x_hat, sigma


def standardised_grad(g: Array, x: Array, axes: tuple[int, ...]) -> Array:
    """The gradient of x^, through the variance and the mean (Ioffe and Szegedy, section 3)."""
    count = np.prod([x.shape[axis] for axis in axes])
    centred = x - x.mean(axes, keepdims=True)
    sigma = standardised(x, axes)[1]
    dvariance = (g * centred).sum(axes, keepdims=True) * -0.5 / sigma**3
    dmean = -(g / sigma).sum(axes, keepdims=True)
    dmean += dvariance * -2 * centred.mean(axes, keepdims=True)
    dx: Array = g / sigma + dvariance * 2 * centred / count + dmean / count
    return dx


def activated(y: Array, gated: Array, activation: int) -> Array:
    if activation == GATE:
        y = sigmoid(y) * gated
    return np.maximum(y, 0) if activation == RELU else y


def activated_grad(dy: Array, y: Array, gated: Array, activation: int) -> Array:
    if activation == GATE:
        dy = dy * gated * sigmoid(y) * sigmoid(-y)
    return np.where(y > 0, dy, 0) if activation == RELU else dy


class Case:
    """A map of several tasks, the parameters of every task, and what is expected of them."""

    def __init__(self, counts: Sequence[int], size: tuple[int, ...], activation: int) -> None:
        rng = np.random.default_rng(sum(size) + len(counts))
        shape = (sum(counts), *size)
        self.counts, self.activation, self.channels = counts, activation, size[-1]
        self.x, self.gated, self.dy = rng.normal(3, 2, shape), *rng.normal(0, 1, (2, *shape))
        self.gamma, self.beta = rng.normal(1, 0.3, (2, len(counts), self.channels))
        self.x, self.gated = (a.astype(np.float32).astype(np.float64) for a in (self.x, self.gated))
        # At the kink of the ReLU rounding decides.
        self.dy[np.abs(self.normalised()[0]) < 1e-4] = 0
        self.moving = [np.full(self.channels, t, np.float32) for t in range(2 * len(counts))]

    def parts(self, array: Array) -> list[Array]:
        return np.split(array, np.cumsum(self.counts)[:-1])

    def normalised(self) -> tuple[Array, Array]:
        """gamma x^ + beta, and x^."""
        x_hat = [standardised(part, (0, 1, 2))[0] for part in self.parts(self.x)]
        y = [x * g + b for x, g, b in zip(x_hat, self.gamma, self.beta, strict=True)]
        return np.concatenate(y), np.concatenate(x_hat)

    def maps(self) -> list[Array]:
        return [self.x, *[self.gated] * (self.activation == GATE)]

    def options(self) -> Array:
        return options(self.activation, *self.counts)

    def forward(self, threads: int, name: str = "batch_norm") -> list[Array]:
        inputs = [*self.maps(), *self.gamma, *self.beta, *self.moving, self.options()]
        saved = [(2, len(self.counts), self.channels)] * (name == "batch_norm")
        return call(name, inputs, [self.x.shape, *saved], threads)

    def backward(self, saved: Array, threads: int) -> list[Array]:
        maps, parameters = self.maps(), [*self.gamma, *self.beta]
        inputs = [self.options(), self.dy, *maps, saved, *parameters]
        shapes = [a.shape for a in (*maps, *parameters)]
        return call("batch_norm_grad", inputs, shapes, threads)


@grid
@given(counts_of_tasks, sizes, activations, threads_used)
def test_batch_norm(
    counts: Sequence[int], size: tuple[int, ...], activation: int, threads: int
) -> None:
    case = Case(counts, size, activation)
    y, saved = case.forward(threads)
    normalised, x_hat = case.normalised()
    assert_close(y, activated(normalised, case.gated, activation), TOLERANCE)

    pixels = [part.reshape(-1, size[-1]) for part in case.parts(case.x)]
    for t, values in enumerate(pixels):
        unbiased = values.var(0) * len(values) / max(len(values) - 1, 1)
        mean, variance = case.moving[t], case.moving[len(counts) + t]
        assert_close(mean, 0.9 * t + 0.1 * values.mean(0), TOLERANCE)
        assert_close(variance, 0.9 * (len(counts) + t) + 0.1 * unbiased, TOLERANCE)

    dx, *others = case.backward(saved, threads)
    if activation == GATE:
        dgated, *others = others
        assert_close(dgated, case.dy * sigmoid(normalised), TOLERANCE)
    g = activated_grad(case.dy, normalised, case.gated, activation)
    steepest = 0.0
    for t, (own, x) in enumerate(zip(case.parts(g), case.parts(case.x), strict=True)):
        expected = standardised_grad(own * case.gamma[t], x, (0, 1, 2))
        # A gradient may be a difference of numbers much larger than itself: of one or few values.
        steepest = np.abs(own * case.gamma[t] / standardised(x, (0, 1, 2))[1]).max()
        assert np.abs(case.parts(dx)[t] - expected).max() <= TOLERANCE * steepest
    own_x_hat = case.parts(g * x_hat)
    terms = np.abs(g).sum() * max(np.abs(x_hat).max(), 1)
    for t in range(len(counts)):
        dgamma, dbeta = others[t], others[len(counts) + t]
        assert np.abs(dgamma - own_x_hat[t].sum((0, 1, 2))).max() <= TOLERANCE * terms
        assert np.abs(dbeta - case.parts(g)[t].sum((0, 1, 2))).max() <= TOLERANCE * terms


@grid
@given(counts_of_tasks, sizes, activations, threads_used)
def test_batch_norm_in_inference(
    counts: Sequence[int], size: tuple[int, ...], activation: int, threads: int
) -> None:
    case = Case(counts, size, activation)
    (y,) = case.forward(threads, "batch_norm_inference")
    tasks = len(counts)
    for t, (own, x, gated) in enumerate(
        zip(case.parts(y), case.parts(case.x), case.parts(case.gated), strict=True)
    ):
        normalised = (x - t) / np.sqrt(tasks + t + EPSILON) * case.gamma[t] + case.beta[t]
        assert_close(own, activated(normalised, gated, activation), TOLERANCE)
    assert [m[0] for m in case.moving] == list(range(2 * tasks))


def test_batch_norm_of_values_far_from_zero() -> None:
    """The variance of data with a large mean: the difference of two means of squares would fail."""
    case = Case((6,), (24, 24, 16), NONE)
    case.x = (1e3 + np.random.default_rng(0).normal(0, 1, case.x.shape)).astype(np.float32)
    _, saved = case.forward(1)
    exact = case.x.astype(np.float64)
    assert np.abs(saved[0, 0] - exact.mean((0, 1, 2))).max() < 1e3 * 6e-8
    sigma = np.sqrt(exact.var((0, 1, 2)) + EPSILON)
    # The means of parts are rounded to 6e-5 of sigma.
    assert np.abs(saved[1, 0] * sigma - 1).max() < 1e-5


@pytest.mark.parametrize("activation", [NONE, RELU, GATE])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_batch_norm_of_what_is_not_finite(value: float, activation: int) -> None:
    """It spoils its channel of its task, forward and backward, and no other."""
    case = Case((2, 2), (3, 3, 5), activation)
    case.x[3, 1, 2, 4] = value
    y, saved = case.forward(1)
    dx, *others = case.backward(saved, 1)
    spoilt = np.zeros(y.shape, bool)
    spoilt[2:, ..., 4] = True
    assert (np.isnan(y) == spoilt).all() and (np.isnan(dx) == spoilt).all()
    dgammas = others[-4:-2]
    assert np.isnan(dgammas[1]).tolist() == [False] * 4 + [True] and np.isfinite(dgammas[0]).all()


@pytest.mark.parametrize("threads", [1, 2])
def test_batch_norm_is_repeatable(threads: int) -> None:
    case = Case((3, 4), (20, 20, 40), RELU)
    first, second = (case.forward(threads) for _ in range(2))
    assert_equal(first, second)
    assert_equal(*(case.backward(first[1], threads) for _ in range(2)))


@grid
@given(
    st.integers(1, 3),
    st.tuples(st.integers(1, 9), st.integers(1, 9)),
    st.sampled_from([(1, 1), (3, 3), (4, 2), (17, 1), (40, 8), (64, 8)]),
    st.sampled_from([NONE, RELU]),
    threads_used,
)
def test_group_norm(
    images: int, size: tuple[int, int], split: tuple[int, int], activation: int, threads: int
) -> None:
    channels, groups = split
    rng = np.random.default_rng(images + sum(size))
    x, dy = rng.normal(3, 2, (2, images, *size, channels)).astype(np.float32).astype(np.float64)
    gamma, beta = rng.normal(1, 0.3, (2, channels))
    name = "group_norm_relu" if activation == RELU else "group_norm"
    y, saved = call(name, [x, gamma, beta], [x.shape, (2, images, groups)], threads)
    grouped = (images, *size, groups, channels // groups)
    x_hat = standardised(x.reshape(grouped), (1, 2, 4))[0].reshape(x.shape)
    normalised = x_hat * gamma + beta
    assert_close(y, activated(normalised, x, activation), TOLERANCE)

    dy[np.abs(normalised) < 1e-4] = 0
    shapes = [a.shape for a in (x, gamma, beta)]
    inputs = [dy, x, gamma, beta, saved]
    dx, dgamma, dbeta = call(f"{name}_grad", inputs, shapes, threads)
    g = activated_grad(dy, normalised, x, activation)
    weighed = (g * gamma).reshape(grouped)
    expected = standardised_grad(weighed, x.reshape(grouped), (1, 2, 4)).reshape(x.shape)
    steepest = np.abs(weighed / standardised(x.reshape(grouped), (1, 2, 4))[1]).max()
    assert np.abs(dx - expected).max() <= TOLERANCE * steepest
    terms = np.abs(g).sum() * max(np.abs(x_hat).max(), 1)
    assert np.abs(dgamma - (g * x_hat).sum((0, 1, 2))).max() <= TOLERANCE * terms
    assert np.abs(dbeta - g.sum((0, 1, 2))).max() <= TOLERANCE * terms


def test_unfit_inputs_in_one_line(capfd: pytest.CaptureFixture[str]) -> None:
    x, one = np.zeros((3, 2, 2, 4), np.float32), np.zeros(4, np.float32)
    saved = np.zeros((2, 1, 4), np.float32)
    inputs = [x, one, one, one, one, options(NONE, 2)]
    message = assert_refused("batch_norm", inputs, [x, saved], capfd)
    assert message == "native operator batch_norm: the tasks have 2 images, the map 3\n"
    saved = np.zeros((2, 3, 3), np.float32)
    message = assert_refused("group_norm", [x, one, one], [x, saved], capfd)
    assert message == "native operator group_norm: 4 channels cannot be 3 groups\n"


def test_in_a_graph(graph_mode: None) -> None:
    """Two steps with all norms and their gradients, beside MindSpore's own."""
    import mindspore as ms
    from mindspore import ParameterTuple, Tensor, nn, ops

    from train.native.norms import batch_norm, batch_norm_gate, batch_norm_options, group_norm

    native()
    counts, size = [2, 3], (4, 5, 8)
    rng = np.random.default_rng(0)
    x, target = rng.normal(1, 2, (2, sum(counts), *size)).astype(np.float32)

    def vectors(name: str, value: float) -> ParameterTuple:
        return parameters(name, [np.full(size[-1], value + 0.1 * t) for t in range(len(counts))])

    class Native(nn.Cell):
        def __init__(self) -> None:
            super().__init__()
            self.gamma, self.beta = vectors("gamma", 1.0), vectors("beta", 0.0)
            self.mean, self.variance = vectors("mean", 0.0), vectors("variance", 1.0)
            self.norm, self.gate = batch_norm(len(counts)), batch_norm_gate(len(counts))
            self.relu_options = batch_norm_options("relu", counts)
            self.gate_options = batch_norm_options("gate", counts)
            self.group = group_norm(4, relu=True)

        def construct(self, x: Tensor) -> Tensor:
            gamma, beta, mean, variance = self.gamma, self.beta, self.mean, self.variance
            y, _ = self.norm(x, gamma, beta, mean, variance, self.relu_options)
            y, _ = self.gate(y, x, gamma, beta, mean, variance, self.gate_options)
            y, _ = self.group(y, self.gamma[0], self.beta[1])
            return (y * Tensor(target)).sum()

    class Stock(nn.Cell):
        def __init__(self) -> None:
            super().__init__()
            self.gamma, self.beta = vectors("gamma", 1.0), vectors("beta", 0.0)
            self.mean, self.variance = vectors("mean", 0.0), vectors("variance", 1.0)
            self.norms = nn.CellList([nn.BatchNorm2d(size[-1], momentum=0.9) for _ in counts])
            for t, own in enumerate(self.norms):
                own.gamma, own.beta = self.gamma[t], self.beta[t]
                own.moving_mean, own.moving_variance = self.mean[t], self.variance[t]
            self.group = nn.GroupNorm(4, size[-1])
            self.group.gamma, self.group.beta = self.gamma[0], self.beta[1]

        def normalise(self, x: Tensor) -> Tensor:
            return ops.concat([self.norms[0](x[:2]), self.norms[1](x[2:])])

        def construct(self, x: Tensor) -> Tensor:
            x = x.transpose((0, 3, 1, 2))
            y = ops.relu(self.normalise(x))
            y = ops.sigmoid(self.normalise(y)) * x
            return (ops.relu(self.group(y)).transpose((0, 2, 3, 1)) * Tensor(target)).sum()

    def two_steps(net: nn.Cell) -> tuple[list[Array], list[Array]]:
        net.set_train()
        weighed = ms.value_and_grad(net, 0, ParameterTuple([*net.gamma, *net.beta]))
        weighed(Tensor(x))
        loss, (dx, gradients) = weighed(Tensor(x))
        found = [a.asnumpy() for a in (loss, dx, *gradients)]
        return found, [a.asnumpy() for a in (*net.mean, *net.variance)]

    (found, moved), (expected, stock_moved) = two_steps(Native()), two_steps(Stock())
    assert_close(found, expected, 1e-5)
    assert_close(moved, stock_moved, 1e-6)

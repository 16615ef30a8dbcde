"""1x1 convolutions of several tasks in one native operator against float64 numpy."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.train.native.checks import (
    assert_alike,
    assert_close,
    assert_equal,
    assert_in_graph,
    assert_refused,
)
from tests.train.native_calls import Array, call, grid, native, options, parameters, threads_used

# Rounding of a sum of at most 3 * 40 * 40 products, relative to its largest value.
TOLERANCE = 3e-6

channels = st.sampled_from([1, 3, 5, 16, 17, 40])
counts_of_tasks = st.lists(st.integers(1, 3), min_size=1, max_size=4)


def numpy_pointwise(
    x: Array, weights: Sequence[Array], biases: Sequence[Array], counts: Sequence[int]
) -> Array:
    parts = np.split(x, np.cumsum(counts)[:-1])
    return np.concatenate(
        [
            part @ weight[:, :, 0, 0].T + bias
            for part, weight, bias in zip(parts, weights, biases, strict=True)
        ]
    )


def numpy_gradients(
    dy: Array, x: Array, weights: Sequence[Array], counts: Sequence[int]
) -> tuple[Array, list[Array], list[Array]]:
    """Gradients of x, weights and biases."""
    ends = np.cumsum(counts)[:-1]
    parts, dys = np.split(x, ends), np.split(dy, ends)
    dx = [own @ weight[:, :, 0, 0] for own, weight in zip(dys, weights, strict=True)]
    dweights = [
        np.einsum("nhwo,nhwc->oc", own, part)[:, :, None, None]
        for own, part in zip(dys, parts, strict=True)
    ]
    return np.concatenate(dx), dweights, [own.sum((0, 1, 2)) for own in dys]


def check(
    counts: Sequence[int], size: tuple[int, int], c_in: Sequence[int], c_out: int, threads: int
) -> None:
    rng = np.random.default_rng(sum(counts))
    halves = [rng.normal(0, 1, (sum(counts), *size, c)) for c in c_in]
    x = np.concatenate(halves, -1)
    weights = [rng.normal(0, 1, (c_out, sum(c_in), 1, 1)) for _ in counts]
    biases = [rng.normal(0, 1, c_out) for _ in counts]
    name = "pointwise_pair" if len(c_in) == 2 else "pointwise"
    y = numpy_pointwise(x, weights, biases, counts)
    (actual,) = call(name, [*halves, *weights, *biases, options(*counts)], [y.shape], threads)
    assert_close(actual, y, TOLERANCE)

    dy = rng.normal(0, 1, y.shape)
    shapes = [value.shape for value in [*halves, *weights, *biases]]
    inputs = [dy, *halves, *weights, options(*counts)]
    found = call(f"{name}_grad", inputs, shapes, threads)
    dx, dweights, dbiases = numpy_gradients(dy, x, weights, counts)
    assert_close(np.concatenate(found[: len(halves)], -1), dx, TOLERANCE)
    assert_close(found[len(halves) :], [*dweights, *dbiases], TOLERANCE)
    assert_equal(found, call(f"{name}_grad", inputs, shapes, threads))


@grid
@given(
    counts_of_tasks,
    st.tuples(st.integers(1, 9), st.integers(1, 9)),
    st.lists(channels, min_size=1, max_size=2),
    channels,
    threads_used,
)
def test_against_numpy(
    counts: list[int], size: tuple[int, int], c_in: list[int], c_out: int, threads: int
) -> None:
    check(counts, size, c_in, c_out, threads)


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("counts", [[3], [1, 2], [2, 1], [1, 1, 1]])
def test_a_task_whose_images_several_threads_share(threads: int, counts: list[int]) -> None:
    """Maps so large that their rows are divided among the threads."""
    check(counts, (40, 41), (16, 8), 16, threads)


def test_the_same_bits_whatever_the_number_of_threads() -> None:
    """How many cores a process has is nothing that predictions may depend on."""
    rng = np.random.default_rng(0)
    counts, shape = [2, 1], (3, 61, 67)
    halves = [rng.normal(0, 1, (*shape, c)) for c in (48, 16)]
    weights, biases = [*rng.normal(0, 1, (2, 64, 64, 1, 1))], [*rng.normal(0, 1, (2, 64))]
    inputs = [*halves, *weights, *biases, options(*counts)]
    found = [call("pointwise_pair", inputs, [(*shape, 64)], threads)[0] for threads in (1, 2, 3, 5)]
    assert all((y == found[0]).all() for y in found)


def test_a_thousand_tasks() -> None:
    check([1] * 1000, (2, 2), (5, 3), 4, 2)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@np.errstate(invalid="ignore")
def test_what_is_not_finite_comes_through(value: float) -> None:
    rng = np.random.default_rng(0)
    counts, shape = [1, 2], (3, 4, 4, 16)
    x, dy = rng.normal(0, 1, shape), rng.normal(0, 1, shape)
    weights, biases = [*rng.normal(0, 1, (2, 16, 16, 1, 1))], [*rng.normal(0, 1, (2, 16))]
    broken_x, broken_dy = x.copy(), dy.copy()
    broken_x[1, 2, 2, 3] = broken_dy[2, 1, 1, 5] = value
    (y,) = call("pointwise", [broken_x, *weights, *biases, options(*counts)], [shape])
    assert_alike(y, numpy_pointwise(broken_x, weights, biases, counts))
    for own_dy, own_x in ((broken_dy, x), (dy, broken_x)):
        shapes = [shape, *[(16, 16, 1, 1)] * 2, *[(16,)] * 2]
        dx, *found = call("pointwise_grad", [own_dy, own_x, *weights, options(*counts)], shapes)
        wanted_dx, dweights, dbiases = numpy_gradients(own_dy, own_x, weights, counts)
        assert_alike([dx, *found], [wanted_dx, *dweights, *dbiases])


def test_unfit_inputs_in_one_line(capfd: pytest.CaptureFixture[str]) -> None:
    x, weight, bias = (np.zeros(shape, np.float32) for shape in [(3, 4, 4, 5), (8, 5, 1, 1), (8,)])
    y = np.zeros((3, 4, 4, 8), np.float32)
    for counts in ([2], [0, 3], [4]):
        inputs = [x, *[weight] * len(counts), *[bias] * len(counts), options(*counts)]
        assert_refused("pointwise", inputs, [y], capfd)


@pytest.mark.parametrize("halves", [1, 2])
def test_in_a_graph(graph_mode: None, halves: int) -> None:
    from mindspore import Tensor, nn

    from train.native.convolutions import pointwise, pointwise_options

    native()
    rng = np.random.default_rng(0)
    counts = [1, 2]
    maps = [rng.normal(0, 1, (3, 5, 4, 6)) for _ in range(halves)]
    weights, biases = [*rng.normal(0, 1, (2, 7, 6 * halves, 1, 1))], [*rng.normal(0, 1, (2, 7))]
    target = rng.normal(0, 1, (3, 5, 4, 7))

    class Net(nn.Cell):
        def __init__(self) -> None:
            super().__init__()
            self.maps = parameters("map", maps)
            self.weights = parameters("weight", weights)
            self.biases = parameters("bias", biases)
            self.target = Tensor(target.astype(np.float32))
            self.pointwise, self.options = pointwise(2, halves), pointwise_options(counts)

        def construct(self) -> Tensor:
            y = self.pointwise(self.maps, self.weights, self.biases, self.options)
            return (y * self.target).sum()

    x = np.concatenate(maps, -1)
    y = numpy_pointwise(x, weights, biases, counts)
    dx, dweights, dbiases = numpy_gradients(target, x, weights, counts)
    gradients = [*np.split(dx, halves, -1), *dweights, *dbiases]
    assert_in_graph(Net(), (y * target).sum(), gradients, TOLERANCE)

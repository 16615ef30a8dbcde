"""The native convolution against float64 numpy, forward and backward."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.train.native.checks import (
    assert_alike,
    assert_at_least_alike,
    assert_close,
    assert_in_graph,
    assert_refused,
)
from tests.train.native_calls import Array, call, grid, native, options, parameters, threads_used

# Rounding of a sum of at most 9 * 64 products is 3e-6; the transforms of minimal filtering triple
# it, as measured.
TOLERANCE = 1e-5

# Half of them multiples of 16, which minimal filtering serves.
channels = st.sampled_from([1, 3, 5, 17, 40, 16, 16, 32, 48, 64])
shapes = st.tuples(
    st.integers(1, 3), st.integers(1, 13), st.integers(1, 13), channels, channels
)  # N, H, W, C_in, C_out
kernels = st.sampled_from([1, 3, 3, 3, 7])
strides = st.sampled_from([1, 1, 2, 3])


def windows(x: Array, kernel: int, stride: int) -> Array:
    """Every window of a map (N, H, W, C) with zeros around: (k, k, N, H_out, W_out, C)."""
    _, height, width, _ = x.shape
    half = kernel // 2
    padded = np.pad(x, ((0, 0), (half, half), (half, half), (0, 0)))
    return np.array(
        [
            [padded[:, i : i + height : stride, j : j + width : stride] for j in range(kernel)]
            for i in range(kernel)
        ]
    )


def numpy_convolution(x: Array, weight: Array, stride: int) -> Array:
    y: Array = np.tensordot(windows(x, weight.shape[2], stride), weight, ((0, 1, 5), (2, 3, 1)))
    return y


def numpy_dx(dy: Array, weight: Array, stride: int, shape: tuple[int, ...]) -> Array:
    """Every value of dy goes back to the pixels that its window has seen."""
    _, height, width, _ = shape
    kernel, half = weight.shape[2], weight.shape[2] // 2
    padded = np.zeros((shape[0], height + 2 * half, width + 2 * half, shape[3]))
    for i in range(kernel):
        for j in range(kernel):
            padded[:, i : i + height : stride, j : j + width : stride] += dy @ weight[:, :, i, j]
    return padded[:, half : half + height, half : half + width]


def numpy_dweight(dy: Array, x: Array, kernel: int, stride: int) -> Array:
    dweight: Array = np.tensordot(dy, windows(x, kernel, stride), ((0, 1, 2), (2, 3, 4))).transpose(
        0, 3, 1, 2
    )
    return dweight


@grid
@given(shapes, kernels, strides, threads_used, st.booleans(), st.booleans())
def test_against_numpy(
    shape: tuple[int, ...], kernel: int, stride: int, threads: int, bias: bool, residual: bool
) -> None:
    *size, c_out = shape
    rng = np.random.default_rng(sum(shape))
    x = rng.normal(0, 1, size)
    weight = rng.normal(0, 1, (c_out, size[-1], kernel, kernel))
    y = numpy_convolution(x, weight, stride)
    own_bias, own_residual = rng.normal(0, 1, c_out), rng.normal(0, 1, y.shape)
    inputs = [x, weight, *[own_bias] * bias, *[own_residual] * residual, options(stride)]
    name = "convolution" + "_bias" * bias + "_residual" * residual
    (actual,) = call(name, inputs, [y.shape], threads)
    assert_close(actual, y + own_bias * bias + own_residual * residual, TOLERANCE)

    dy = rng.normal(0, 1, y.shape)
    outputs = [x.shape, weight.shape, *[(c_out,)] * bias]
    dx, dweight, *dbias = call(
        "convolution_grad", [dy, x, weight, options(stride)], outputs, threads
    )
    assert_close(dx, numpy_dx(dy, weight, stride, x.shape), TOLERANCE)
    assert_close(dweight, numpy_dweight(dy, x, kernel, stride), TOLERANCE)
    if bias:
        assert_close(dbias[0], dy.sum((0, 1, 2)), TOLERANCE)
        alone = call("convolution_grad", [dy, x, weight, options(stride)], outputs[1:], threads)
        assert (alone[0] == dweight).all() and (alone[1] == dbias[0]).all()


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize(
    "c_in, c_out, stride, alike",
    [
        (3, 16, 1, assert_alike),
        (40, 17, 1, assert_alike),
        (40, 17, 2, assert_alike),
        # Minimal filtering spreads it over a tile.
        (32, 32, 1, assert_at_least_alike),
        (16, 32, 2, assert_at_least_alike),
    ],
)
@np.errstate(invalid="ignore")
def test_what_is_not_finite_comes_through(
    value: float, c_in: int, c_out: int, stride: int, alike: Callable[[Array, Array], None]
) -> None:
    rng = np.random.default_rng(0)
    x, weight = rng.normal(0, 1, (2, 9, 9, c_in)), rng.normal(0, 1, (c_out, c_in, 3, 3))
    dy = rng.normal(0, 1, numpy_convolution(x, weight, stride).shape)
    broken_x, broken_dy = x.copy(), dy.copy()
    broken_x[1, 4, 4, 1] = value
    broken_dy[1, 2, 2, 3] = value
    (y,) = call("convolution", [broken_x, weight, options(stride)], [dy.shape])
    assert np.isfinite(y[0]).all()
    alike(y, numpy_convolution(broken_x, weight, stride))
    outputs = [x.shape, weight.shape]
    dx, dweight = call("convolution_grad", [broken_dy, x, weight, options(stride)], outputs)
    assert np.isfinite(dx[0]).all()
    alike(dx, numpy_dx(broken_dy, weight, stride, x.shape))
    alike(dweight, numpy_dweight(broken_dy, x, 3, stride))
    _, dweight = call("convolution_grad", [dy, broken_x, weight, options(stride)], outputs)
    alike(dweight, numpy_dweight(dy, broken_x, 3, stride))


@pytest.mark.parametrize(
    "height, width, stride", [(36, 36, 1), (29, 25, 1), (36, 36, 2), (29, 25, 2)]
)
def test_maps_of_many_blocks(height: int, width: int, stride: int) -> None:
    """Work that is divided among threads, and within one; its results are repeatable."""
    rng = np.random.default_rng(0)
    x, weight = rng.normal(0, 1, (3, height, width, 32)), rng.normal(0, 1, (48, 32, 3, 3))
    y = numpy_convolution(x, weight, stride)
    dy = rng.normal(0, 1, y.shape)
    gradients = [
        numpy_dx(dy, weight, stride, x.shape),
        numpy_dweight(dy, x, 3, stride),
        dy.sum((0, 1, 2)),
    ]
    inputs, shapes = [dy, x, weight, options(stride)], [value.shape for value in gradients]
    for threads in (1, 2, 3):
        first, second = (call("convolution_grad", inputs, shapes, threads) for _ in range(2))
        for a, b, expected in zip(first, second, gradients, strict=True):
            assert (a == b).all()
            assert_close(a, expected, TOLERANCE)
        inputs_of_y = [x, weight, dy, options(stride)]
        (actual,) = call("convolution_residual", inputs_of_y, [y.shape], threads)
        assert_close(actual, y + dy, TOLERANCE)
        # Predictions may not depend on the number of cores.
        assert (actual == call("convolution_residual", inputs_of_y, [y.shape], 1)[0]).all()


def test_unfit_inputs_in_one_line(capfd: pytest.CaptureFixture[str]) -> None:
    x, weight, y = (
        np.zeros(shape, np.float32) for shape in [(1, 4, 4, 3), (8, 5, 3, 3), (1, 4, 4, 8)]
    )
    assert_refused("convolution", [x, weight, options(1)], [y], capfd)


def test_in_a_graph(graph_mode: None) -> None:
    """Every variant and its gradients, as the network calls them."""
    from mindspore import Tensor, nn

    from train.native.convolutions import convolution, convolution_options

    native()
    rng = np.random.default_rng(0)
    x, bias = rng.normal(0, 1, (2, 7, 5, 4)), rng.normal(0, 1, 6)
    weight, target = rng.normal(0, 1, (6, 4, 3, 3)), rng.normal(0, 1, (2, 4, 3, 6))
    residual = rng.normal(0, 1, target.shape)

    class Net(nn.Cell):
        def __init__(self) -> None:
            super().__init__()
            self.values = parameters("value", [x, weight, bias, residual])
            self.target = Tensor(target.astype(np.float32))
            self.options = convolution_options(2)
            self.neither, self.of_bias = convolution(2, bias=False), convolution(2)
            self.of_residual = convolution(2, bias=False, residual=True)
            self.of_both = convolution(2, residual=True, needs_dx=False)
            self.weight_alone = convolution(2, bias=False, needs_dx=False)

        def construct(self) -> Tensor:
            x, weight, bias, residual = self.values
            y = self.neither(x, weight, self.options) + self.of_bias(x, weight, bias, self.options)
            y = y + self.of_residual(x, weight, residual, self.options)
            y = y + self.of_both(x, weight, bias, residual, self.options)
            y = y + self.weight_alone(x, weight, self.options)
            return (y * self.target).sum()

    y = 5 * numpy_convolution(x, weight, 2) + 2 * bias + 2 * residual
    gradients = [
        3 * numpy_dx(target, weight, 2, x.shape),
        5 * numpy_dweight(target, x, 3, 2),
        2 * target.sum((0, 1, 2)),
        2 * target,
    ]
    assert_in_graph(Net(), (y * target).sum(), gradients, TOLERANCE)

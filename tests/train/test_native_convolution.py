"""The native convolution against float64 numpy, forward and backward."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.train.native_calls import Array, assert_close, call, grid, options

# Rounding of a sum of at most 9 * 40 products grows with its square root: 20 * 6e-8.
TOLERANCE = 3e-6

channels = st.sampled_from([1, 3, 5, 16, 17, 32, 40, 64])
shapes = st.tuples(
    st.integers(1, 3), st.integers(1, 13), st.integers(1, 13), channels, channels
)  # N, H, W, C_in, C_out
kernels = st.sampled_from([1, 3, 3, 7])
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
    return np.einsum("ijnhwc,ocij->nhwo", windows(x, weight.shape[2], stride), weight)


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
    return np.einsum("ijnhwc,nhwo->ocij", windows(x, kernel, stride), dy)


@grid
@given(shapes, kernels, strides, st.sampled_from([1, 2]), st.booleans(), st.booleans())
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

"""The native max-pool, gate and resize against float64 numpy, forward and backward."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.train.native.checks import assert_alike, assert_close, assert_refused
from tests.train.native_calls import Array, call, grid, native, options, threads_used

# Every value passes a handful of operations, each with a rounding of 6e-8.
TOLERANCE = 1e-6

shapes = st.tuples(
    st.integers(1, 3),
    st.integers(1, 11),
    st.integers(1, 11),
    st.sampled_from([1, 3, 5, 16, 17, 40, 64]),
)  # N, H, W, C


def window(i: int, size: int, kernel: int, stride: int, symmetric: int = 0) -> tuple[int, int]:
    """What output i sees: inputs from the first number to the second.

    With "same" padding, or with the symmetric one of PyTorch.
    """
    missing = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    start = i * stride - (kernel // 2 if symmetric else missing // 2)
    return max(start, 0), min(start + kernel, size)


def numpy_max_pool(
    x: Array, kernel: int, stride: int, dy: Array, symmetric: int = 0
) -> tuple[Array, Array]:
    """y and dx: the first of the largest values of a window has its gradient."""
    images, height, width, channels = x.shape
    y, dx = np.zeros(dy.shape), np.zeros(x.shape)
    n, c = np.ogrid[:images, :channels]
    for i in range(dy.shape[1]):
        for j in range(dy.shape[2]):
            top, bottom = window(i, height, kernel, stride, symmetric)
            left, right = window(j, width, kernel, stride, symmetric)
            seen = x[:, top:bottom, left:right].reshape(images, -1, channels)
            place = seen.argmax(1)  # numpy's too is NaN where there is one
            y[:, i, j] = seen.max(1)
            row, column = np.divmod(place, right - left)
            dx[n, top + row, left + column, c] += dy[:, i, j]
    return y, dx


def native_max_pool(
    x: Array, kernel: int, stride: int, dy: Array, threads: int = 1, symmetric: int = 0
) -> tuple[Array, Array]:
    own = options(kernel, stride, symmetric)
    y, winners = call("max_pool", [x, own], [dy.shape, (-(-dy.size // 4),)], threads)
    (dx,) = call("max_pool_grad", [dy, winners, own], [x.shape], threads)
    return y, dx


def pooled(shape: tuple[int, ...], stride: int) -> tuple[int, ...]:
    images, height, width, channels = shape
    return images, -(-height // stride), -(-width // stride), channels


@grid
@given(
    shapes,
    st.sampled_from([(2, 2), (3, 2), (3, 3), (4, 2), (1, 1), (5, 4)]),
    threads_used,
    st.sampled_from([0, 1]),
)
def test_max_pool(
    shape: tuple[int, ...], kind: tuple[int, int], threads: int, symmetric: int
) -> None:
    rng = np.random.default_rng(sum(shape))
    # Few different values: many windows have several largest ones.
    x = rng.integers(-2, 3, shape).astype(np.float32)
    dy = rng.normal(0, 1, pooled(shape, kind[1])).astype(np.float32)
    symmetric = symmetric if kind[0] % 2 and kind[0] > kind[1] else 0
    y, dx = native_max_pool(x, *kind, dy, threads, symmetric)
    expected_y, expected_dx = numpy_max_pool(x, *kind, dy, symmetric)
    assert (y == expected_y).all()
    assert_close(dx, expected_dx, TOLERANCE)


def test_the_stock_layer_has_the_same_gradient(eager: None) -> None:
    """Behind a ReLU, whose zeros its padding, of zeros too, may win against."""
    import mindspore as ms
    from mindspore import Tensor, ops

    from train.model.layers import SymmetricMaxPool

    rng = np.random.default_rng(0)
    x = rng.normal(-0.7, 1, (2, 8, 7, 3)).astype(np.float32)
    dy = rng.normal(0, 1, pooled(x.shape, 2)).astype(np.float32)
    pool, weights = SymmetricMaxPool(3, 2), Tensor(dy.transpose(0, 3, 1, 2))
    gradient = ms.grad(lambda z: (pool(ops.relu(z)) * weights).sum())
    found = gradient(Tensor(x.transpose(0, 3, 1, 2))).asnumpy().transpose(0, 2, 3, 1)
    _, expected = numpy_max_pool(np.maximum(x, 0), 3, 2, dy, symmetric=1)
    assert_close(found, expected * (x > 0), TOLERANCE)


@pytest.mark.parametrize("kernel", [2, 3])
def test_max_pool_of_what_is_not_finite(kernel: int) -> None:
    """NaN wins, wherever it is, and has the gradient; -inf wins against nothing but itself."""
    rng = np.random.default_rng(0)
    x = rng.normal(0, 1, (4, 6, 7, 17))
    for n, value in enumerate([np.nan, np.inf, -np.inf]):
        x[n][rng.random(x.shape[1:]) < 0.05] = value
    x[3] = -np.inf
    dy = rng.normal(0, 1, pooled(x.shape, 2))
    y, dx = native_max_pool(x, kernel, 2, dy)
    expected_y, expected_dx = numpy_max_pool(x, kernel, 2, dy)
    assert_alike(y, expected_y)
    one_winner = np.isnan(x[0]).sum() < 2 or kernel == 2
    assert one_winner or np.isfinite(dx).all()
    assert_close(dx[1:], expected_dx[1:], TOLERANCE)
    # Of the gradients of image 0, those of a NaN's window go to a NaN.
    assert np.abs(dx[0].sum((0, 1)) - dy[0].sum((0, 1))).max() < 1e-5
    for i, j, c in np.argwhere(np.isnan(y[0])):
        (top, bottom), (left, right) = (window(i, 6, kernel, 2), window(j, 7, kernel, 2))
        seen = np.isnan(x[0, top:bottom, left:right, c])
        assert dx[0, top:bottom, left:right, c][seen].any()


def sigmoid(x: Array) -> Array:
    with np.errstate(over="ignore"):
        y: Array = 1 / (1 + np.exp(-x.astype(np.float64)))
    return y


@pytest.mark.parametrize("size, threads", [(1, 1), (17, 1), (70_001, 2)])
def test_gate(size: int, threads: int) -> None:
    rng = np.random.default_rng(size)
    z = rng.normal(0, 30, size).astype(np.float32)
    gated, dout = rng.normal(0, 1, (2, size)).astype(np.float32)
    (out,) = call("gate", [z, gated], [z.shape], threads)
    dz, dgated = call("gate_grad", [dout, z, gated], [z.shape, z.shape], threads)
    mask = sigmoid(z)
    # exp(-z) is rounded like z, which is up to 90 times as much; smaller masks are 0.
    near = z > -86
    assert (np.abs(out - mask * gated) <= 1e-6 * np.abs(mask * gated))[near].all()
    assert_close(out, mask * gated, TOLERANCE)
    assert_close(dgated, mask * dout, TOLERANCE)
    assert_close(dz, mask * (1 - mask) * gated * dout, TOLERANCE)


def test_gate_of_what_is_not_finite() -> None:
    z = np.array([np.inf, -np.inf, np.nan, 300, -300, 0, 0], np.float32)
    gated = np.array([2, 2, 2, 2, 2, np.inf, np.nan], np.float32)
    (out,) = call("gate", [z, gated], [z.shape])
    np.testing.assert_array_equal(out, [2, 0, np.nan, 2, 0, np.inf, np.nan])
    dz, dgated = call("gate_grad", [np.ones(7), z, gated], [z.shape, z.shape])
    np.testing.assert_array_equal(dz, [0, 0, np.nan, 0, 0, np.inf, np.nan])
    np.testing.assert_array_equal(dgated, [1, 0, np.nan, 1, 0, 0.5, 0.5])


def hat(at: Array, size: int) -> Array:
    """(outputs, inputs): 1 - distance, for distances below 1, of points kept inside the map."""
    inside = at.clip(0, size - 1)
    weights: Array = np.maximum(0, 1 - np.abs(inside[:, None] - np.arange(size)))
    return weights


def resize_matrix(size: int, new: int) -> Array:
    return hat((np.arange(new) + 0.5) * size / new - 0.5, size)


@grid
@given(shapes, st.tuples(st.integers(1, 23), st.integers(1, 23)), threads_used)
def test_resize(shape: tuple[int, ...], new: tuple[int, int], threads: int) -> None:
    images, height, width, channels = shape
    rng = np.random.default_rng(sum(shape))
    x, dy = rng.normal(0, 1, shape), rng.normal(0, 1, (images, *new, channels))
    rows, columns = resize_matrix(height, new[0]), resize_matrix(width, new[1])
    (y,) = call("resize", [x], [dy.shape], threads)
    assert_close(y, np.einsum("ih,jw,nhwc->nijc", rows, columns, x), TOLERANCE)
    (dx,) = call("resize_grad", [dy], [x.shape], threads)
    # Up to 23 x 23 outputs come together in one input.
    assert_close(dx, np.einsum("ih,jw,nijc->nhwc", rows, columns, dy), 3 * TOLERANCE)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_resize_of_what_is_not_finite(value: float) -> None:
    x = np.ones((2, 3, 3, 5))
    x[1, 1, 1, 2] = value
    (y,) = call("resize", [x], [(2, 5, 5, 5)])
    assert np.isfinite(y[0]).all() and np.isfinite(np.delete(y[1], 2, axis=-1)).all()
    assert not np.isfinite(y[1, 1:4, 1:4, 2]).any()


def test_unfit_inputs_in_one_line(capfd: pytest.CaptureFixture[str]) -> None:
    x, y, winners = np.zeros((1, 4, 4, 4)), np.zeros((1, 2, 2, 4)), np.zeros(4)
    arrays = [a.astype(np.float32) for a in (x, y, winners)]
    message = assert_refused("max_pool", [arrays[0], options(1, 2, 0)], arrays[1:], capfd)
    assert message == "native operator max_pool: no kernel 1 with stride 2 from 4 x 4 to 2 x 2\n"
    message = assert_refused("max_pool", [arrays[0], options(2, 2, 1)], arrays[1:], capfd)
    assert message == "native operator max_pool: no kernel 2 with stride 2 from 4 x 4 to 2 x 2\n"


def test_in_a_graph(graph_mode: None) -> None:
    """All of them and their gradients, beside MindSpore's own operators."""
    import mindspore as ms
    from mindspore import Tensor, nn, ops

    from train.native.maps import gate, max_pool, max_pool_options, resize

    native()
    rng = np.random.default_rng(0)
    x, z = (Tensor(a) for a in rng.normal(0, 1, (2, 2, 18, 13, 6)).astype(np.float32))
    weights = Tensor(rng.random((2, 11, 7, 6), np.float32))

    class Native(nn.Cell):
        def __init__(self) -> None:
            super().__init__()
            self.gate, self.pool = gate(), max_pool(2)
            self.of_two, self.of_three = max_pool_options(2, 2), max_pool_options(3, 2)

        def construct(self, z: Tensor, x: Tensor) -> Tensor:
            y, _ = self.pool(self.gate(z, x), self.of_two)
            y, _ = self.pool(y, self.of_three)
            return (resize(11, 7)(y) * weights).sum()

    class Stock(nn.Cell):
        def __init__(self) -> None:
            super().__init__()
            self.of_two = nn.MaxPool2d(2, 2, pad_mode="same")
            self.of_three = nn.MaxPool2d(3, 2, pad_mode="same")
            self.resize = ops.ResizeBilinearV2(half_pixel_centers=True)

        def construct(self, z: Tensor, x: Tensor) -> Tensor:
            y = (ops.sigmoid(z) * x).transpose((0, 3, 1, 2))
            y = self.resize(self.of_three(self.of_two(y)), (11, 7))
            return (y.transpose((0, 2, 3, 1)) * weights).sum()

    (loss, gradients), (stock_loss, expected) = (
        ms.value_and_grad(net, (0, 1))(z, x) for net in (Native(), Stock())
    )
    assert float(loss) == pytest.approx(float(stock_loss), rel=1e-5)
    assert_close([g.asnumpy() for g in gradients], [g.asnumpy() for g in expected], 1e-5)

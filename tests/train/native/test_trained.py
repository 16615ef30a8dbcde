"""The native operators of trained networks against float64 numpy."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.train.native.checks import assert_alike, assert_close, assert_refused
from tests.train.native.test_convolutions import numpy_convolution
from tests.train.native.test_pointwise import numpy_pointwise
from tests.train.native_calls import Array, call, grid, options, threads_used

# As for a convolution alone; scales of a norm are about 1.
TOLERANCE = 1e-5

counts_of_domains = st.lists(st.integers(1, 3), min_size=1, max_size=3)


class Norms:
    """Batch norms of K domains: gammas, betas, moving means and moving variances (C,)."""

    def __init__(self, rng: np.random.Generator, domains: int, channels: int) -> None:
        self.gammas = [*rng.normal(1, 0.3, (domains, channels))]
        self.betas = [*rng.normal(0, 1, (domains, channels))]
        self.means = [*rng.normal(0, 2, (domains, channels))]
        self.variances = [*rng.uniform(0.3, 3, (domains, channels))]

    @property
    def inputs(self) -> list[Array]:
        return [*self.gammas, *self.betas, *self.means, *self.variances]

    def __call__(self, x: Array, counts: Sequence[int]) -> Array:
        parts = np.split(x, np.cumsum(counts)[:-1])
        kinds = zip(parts, self.gammas, self.betas, self.means, self.variances, strict=True)
        return np.concatenate([(p - m) / np.sqrt(v + 1e-5) * g + b for p, g, b, m, v in kinds])


@grid
@given(
    counts_of_domains,
    st.tuples(
        st.integers(1, 13),
        st.integers(1, 13),
        st.sampled_from([16, 32, 48]),
        st.sampled_from([16, 32, 48]),
    ),
    st.sampled_from([1, 2]),
    st.booleans(),
    st.booleans(),
    threads_used,
)
def test_convolution_norm(
    counts: list[int],
    shape: tuple[int, int, int, int],
    stride: int,
    bias: bool,
    relu: bool,
    threads: int,
) -> None:
    height, width, c_in, c_out = shape
    rng = np.random.default_rng(sum(counts) + sum(shape))
    x = rng.normal(0, 1, (sum(counts), height, width, c_in))
    weight = rng.normal(0, 1, (c_out, c_in, 3, 3)) / np.sqrt(9 * c_in)
    own_bias, norms = rng.normal(0, 1, c_out), Norms(rng, len(counts), c_out)
    y = norms(numpy_convolution(x, weight, stride) + bias * own_bias, counts)
    y = np.maximum(y, 0) if relu else y
    inputs = [x, weight, *[own_bias] * bias, *norms.inputs, options(stride, int(relu), *counts)]
    name = "convolution_bias_norm" if bias else "convolution_norm"
    assert_close(call(name, inputs, [y.shape], threads)[0], y, TOLERANCE)


class Modules:
    """The attention modules of K tasks."""

    def __init__(self, rng: np.random.Generator, tasks: int, c_in: int, middle: int, c: int):
        self.weights1 = [*rng.normal(0, 1, (tasks, middle, c_in, 1, 1)) / np.sqrt(c_in)]
        self.weights2 = [*rng.normal(0, 1, (tasks, c, middle, 1, 1)) / np.sqrt(middle)]
        self.biases1 = [*rng.normal(0, 1, (tasks, middle))]
        self.biases2 = [*rng.normal(0, 1, (tasks, c))]
        self.norm1, self.norm2 = Norms(rng, tasks, middle), Norms(rng, tasks, c)

    @property
    def inputs(self) -> list[Array]:
        first = [*self.weights1, *self.biases1, *self.norm1.inputs]
        return [*first, *self.weights2, *self.biases2, *self.norm2.inputs]

    def __call__(self, halves: Sequence[Array], counts: Sequence[int]) -> Array:
        x = np.concatenate(halves, -1)
        hidden = self.norm1(numpy_pointwise(x, self.weights1, self.biases1, counts), counts)
        hidden = np.where(hidden < 0, 0, hidden)
        logits = self.norm2(numpy_pointwise(hidden, self.weights2, self.biases2, counts), counts)
        masked: Array = halves[0] / (1 + np.exp(-logits))
        return masked


@grid
@given(
    counts_of_domains,
    st.tuples(st.integers(1, 9), st.integers(1, 9)),
    st.lists(st.sampled_from([1, 3, 16, 17, 40]), min_size=1, max_size=2),
    st.sampled_from([1, 5, 16, 40]),
    threads_used,
)
def test_attention(
    counts: list[int], size: tuple[int, int], channels: list[int], middle: int, threads: int
) -> None:
    check_attention(counts, size, channels, middle, threads)


def check_attention(
    counts: Sequence[int],
    size: tuple[int, int],
    channels: Sequence[int],
    middle: int,
    threads: int,
) -> None:
    """Tasks with as many images have the same ones, those of the first of them."""
    rng = np.random.default_rng(sum(counts) + sum(channels))
    sets = list(dict.fromkeys(counts))
    firsts = [sum(sets[: sets.index(count)]) for count in counts]
    shared = rng.normal(0, 1, (sum(sets), *size, channels[0]))
    own = np.concatenate([shared[f : f + n] for f, n in zip(firsts, counts, strict=True)])
    others = [rng.normal(0, 1, (sum(counts), *size, c)) for c in channels[1:]]
    modules = Modules(rng, len(counts), sum(channels), middle, channels[0])
    y = modules([own, *others], counts)
    inputs = [shared, *others, *modules.inputs, options(*counts, *firsts)]
    name = "attention_pair" if others else "attention"
    assert_close(call(name, inputs, [y.shape], threads)[0], y, TOLERANCE)


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("counts", [[3], [1, 2], [1, 1, 1]])
def test_attention_of_tasks_whose_images_several_threads_share(
    threads: int, counts: list[int]
) -> None:
    check_attention(counts, (40, 41), (16, 8), 16, threads)


@pytest.mark.parametrize("name", ["attention_pair", "convolution_bias_norm"])
def test_the_same_bits_whatever_the_number_of_threads(name: str) -> None:
    """How many cores a process has is nothing that predictions may depend on."""
    rng = np.random.default_rng(0)
    counts, shape = [2, 1], (3, 61, 67, 48)
    halves = [rng.normal(0, 1, shape), rng.normal(0, 1, (*shape[:3], 16))]
    if name == "attention_pair":
        inputs = [*halves, *Modules(rng, 2, 64, 48, 48).inputs, options(*counts, 0, 2)]
    else:
        weight, bias = rng.normal(0, 1, (48, 48, 3, 3)), rng.normal(0, 1, 48)
        inputs = [halves[0], weight, bias, *Norms(rng, 2, 48).inputs, options(1, 1, *counts)]
    found = [call(name, inputs, [shape], threads)[0] for threads in (1, 2, 3, 5)]
    assert all((y == found[0]).all() for y in found)


@pytest.mark.parametrize("name", ["attention", "convolution_norm", "pointwise", "scene_heads"])
@pytest.mark.parametrize("size", [(1, 1), (2, 2), (3, 5), (16, 16)])
def test_a_picture_has_the_same_bits_wherever_it_stands(name: str, size: tuple[int, int]) -> None:
    """What is computed together with a picture is nothing that its prediction may depend on."""
    rng = np.random.default_rng(0)
    count, c = 7, 48
    x, weight = rng.normal(0, 1, (count, *size, c)), rng.normal(0, 1, (c, c))
    weight3x3, norms = rng.normal(0, 1, (c, c, 3, 3)), Norms(rng, 1, c)
    modules = Modules(rng, 1, c, c, c)

    def answers(x: Array) -> Array:
        n = len(x)
        inputs = {
            "attention": [*modules.inputs, options(n, 0)],
            "convolution_norm": [weight3x3, *norms.inputs, options(1, 1, n)],
            "pointwise": [weight[..., None, None], weight[0], options(n)],
            "scene_heads": [weight, weight[0], np.arange(n, dtype=np.int32)],
        }[name]
        return call(name, [x, *inputs], [(n, c) if name == "scene_heads" else x.shape])[0]

    y = answers(x)
    for shift in range(1, count):
        np.testing.assert_array_equal(answers(np.roll(x, shift, 0)), np.roll(y, shift, 0))
        np.testing.assert_array_equal(answers(x[:shift]), y[:shift])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@np.errstate(invalid="ignore", over="ignore")
def test_what_is_not_finite_comes_through(value: float) -> None:
    """A ReLU or a soft mask hides no NaN."""
    rng = np.random.default_rng(0)
    counts, shape = [1, 2], (3, 8, 8, 16)
    x = rng.normal(0, 1, shape)
    x[1, 2, 2, 3] = value
    modules = Modules(rng, 2, 16, 16, 16)
    (y,) = call("attention", [x, *modules.inputs, options(*counts, 0, 1)], [shape])
    assert_alike(y, modules([x], counts))
    weight, norms = rng.normal(0, 1, (16, 16, 3, 3)), Norms(rng, 2, 16)
    inputs = [x, weight, *norms.inputs, options(1, 1, *counts)]
    (y,) = call("convolution_norm", inputs, [shape])
    # The transforms of minimal filtering spread it over a tile, and make NaN of infinity.
    assert np.isnan(y[1]).any() and np.isfinite(y[[0, 2]]).all()


def test_unfit_inputs_in_one_line(capfd: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    x, y = np.zeros((3, 4, 4, 16), np.float32), np.zeros((3, 4, 4, 16), np.float32)
    for counts in ([2, 0], [0, 3, 0, 0], [4, 0], [3, 1], [3, -1]):
        modules = Modules(rng, len(counts) // 2, 16, 16, 16)
        assert_refused("attention", [x, *modules.inputs, options(*counts)], [y], capfd)
    narrow = Modules(rng, 1, 8, 16, 16)
    told = assert_refused("attention", [x, *narrow.inputs, options(3, 0)], [y], capfd)
    assert "the weights do not fit the maps" in told
    weights = [np.zeros((16, c, 3, 3), np.float32) for c in (16, 8, 16)]
    for weight, own_options in zip(weights, [(1, 0, 2), (1, 0, 3), (3, 0, 3)], strict=True):
        inputs = [x, weight, *Norms(rng, 1, 16).inputs, options(*own_options)]
        assert_refused("convolution_norm", inputs, [y], capfd)

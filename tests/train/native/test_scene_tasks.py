"""The heads and the losses of several scene tasks, an operator each, against float64 numpy."""

from collections.abc import Sequence
from dataclasses import dataclass

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
from tests.train.native_calls import Array, call, grid, native, parameters, threads_used

# Rounding of a sum of at most 40 or 12 * 3 products, relative to its largest value.
HEADS_TOLERANCE = 3e-6

channels_used = st.sampled_from([1, 3, 5, 16, 17, 40])
# Images and classes; no classes: a task that is no scene task.
tasks_used = st.lists(
    st.tuples(st.integers(1, 3), st.sampled_from([0, 1, 2, 5, 12, 33])), min_size=1, max_size=4
).filter(lambda tasks: any(classes for _, classes in tasks))


@dataclass
class Heads:
    """A map with the images of some tasks, and what the scene tasks among them make of it."""

    x: Array
    weights: list[Array]
    biases: list[Array]
    images: list[slice]  # of every scene task
    dlogits: list[Array]

    @classmethod
    def draw(
        cls, tasks: Sequence[tuple[int, int]], size: tuple[int, int], channels: int
    ) -> "Heads":
        rng = np.random.default_rng([channels, *size, len(tasks)])
        ends = np.cumsum([images for images, _ in tasks])
        x = rng.normal(0.5, 1, (ends[-1], *size, channels))
        scenes = [(n, k, end) for (n, k), end in zip(tasks, ends, strict=True) if k]
        return cls(
            x,
            [rng.normal(0, 1, (k, channels)) for _, k, _ in scenes],
            [rng.normal(0, 1, k) for _, k, _ in scenes],
            [slice(int(end) - n, int(end)) for n, _, end in scenes],
            [rng.normal(0, 1, (n, k)) for n, k, _ in scenes],
        )

    @property
    def numbers(self) -> list[Array]:
        return [np.arange(own.start, own.stop, dtype=np.int32) for own in self.images]

    def native(self, threads: int = 1) -> list[Array]:
        """Logits of every task."""
        inputs = [self.x, *self.weights, *self.biases, *self.numbers]
        return call("scene_heads", inputs, [d.shape for d in self.dlogits], threads)

    def native_gradients(self, threads: int = 1) -> list[Array]:
        """Of x, weights and biases."""
        shapes = [value.shape for value in (self.x, *self.weights, *self.biases)]
        inputs = [*self.dlogits, self.x, *self.weights, *self.numbers]
        return call("scene_heads_grad", inputs, shapes, threads)

    def numpy(self) -> list[Array]:
        means = [self.x[own].mean((1, 2)) for own in self.images]
        return [
            mean @ weight.T + bias
            for mean, weight, bias in zip(means, self.weights, self.biases, strict=True)
        ]

    def numpy_gradients(self) -> list[Array]:
        dx = np.zeros(self.x.shape)
        pixels = self.x.shape[1] * self.x.shape[2]
        for own, dlogits, weight in zip(self.images, self.dlogits, self.weights, strict=True):
            dx[own] = (dlogits @ weight / pixels)[:, None, None]
        dweights = [
            dlogits.T @ self.x[own].mean((1, 2))
            for own, dlogits in zip(self.images, self.dlogits, strict=True)
        ]
        return [dx, *dweights, *(dlogits.sum(0) for dlogits in self.dlogits)]


@grid
@given(
    tasks_used,
    st.tuples(st.integers(1, 9), st.integers(1, 9)),
    channels_used,
    threads_used,
)
def test_heads_against_numpy(
    tasks: list[tuple[int, int]], size: tuple[int, int], channels: int, threads: int
) -> None:
    heads = Heads.draw(tasks, size, channels)
    found, gradients = heads.native(threads), heads.native_gradients(threads)
    assert_close(found, heads.numpy(), HEADS_TOLERANCE)
    assert_close(gradients, heads.numpy_gradients(), HEADS_TOLERANCE)
    assert_equal(gradients, heads.native_gradients(3 - threads))


@pytest.mark.parametrize("value", [np.nan, np.inf])
@np.errstate(invalid="ignore")
def test_what_is_not_finite_comes_through_the_heads(value: float) -> None:
    """And stays in its task."""
    heads = Heads.draw([(2, 5), (1, 0), (2, 4)], (3, 4), 16)
    heads.x[1, 2, 2, 3] = value
    assert_alike(heads.native(), heads.numpy())
    heads.dlogits[1][1, 2] = value
    assert_alike(heads.native_gradients(), heads.numpy_gradients())


def test_unfit_inputs_in_one_line(capfd: pytest.CaptureFixture[str]) -> None:
    x, bias, logits = (np.zeros(shape, np.float32) for shape in [(3, 4, 4, 5), (8,), (2, 8)])
    weight, other = np.zeros((8, 5), np.float32), np.zeros((8, 6), np.float32)
    for used, own in ((weight, [2, 3]), (weight, [-1, 0]), (other, [0, 1])):
        inputs = [x, used, bias, np.array(own, np.int32)]
        assert_refused("scene_heads", inputs, [logits], capfd)


@pytest.mark.parametrize("tasks", [[(2, 5)], [(2, 5), (1, 0), (3, 4)]], ids=["one", "two of three"])
def test_heads_in_a_graph(graph_mode: None, tasks: list[tuple[int, int]]) -> None:
    from mindspore import Parameter, Tensor, nn

    from train.native.scene_tasks import images_of_tasks, scene_heads

    native()
    heads = Heads.draw(tasks, (5, 4), 6)
    scenes = [i for i, (_, classes) in enumerate(tasks) if classes]

    class Net(nn.Cell):
        def __init__(self) -> None:
            super().__init__()
            self.x = Parameter(Tensor(heads.x.astype(np.float32)), name="x")
            self.weights = parameters("weight", heads.weights)
            self.biases = parameters("bias", heads.biases)
            self.factors = tuple(Tensor(d.astype(np.float32)) for d in heads.dlogits)
            self.heads = scene_heads(len(scenes))
            self.images = images_of_tasks(scenes, [images for images, _ in tasks])

        def construct(self) -> Tensor:
            logits = self.heads(self.x, self.weights, self.biases, self.images)
            total = 0.0
            for own, factor in zip(logits if len(scenes) > 1 else (logits,), self.factors):  # noqa: B905
                total = total + (own * factor).sum()
            return total

    expected = sum((a * b).sum() for a, b in zip(heads.numpy(), heads.dlogits, strict=True))
    assert_in_graph(Net(), expected, heads.numpy_gradients(), HEADS_TOLERANCE)


# --- losses --------------------------------------------------------------------------------------

# Everything inside is float64: one rounding of the result, and those of the inputs.
LOSSES_TOLERANCE = 3e-7

tasks_of_losses = st.lists(
    st.tuples(st.integers(1, 5), st.sampled_from([1, 2, 5, 16, 33])), min_size=1, max_size=4
)  # images and classes
smoothings = st.sampled_from([0.0, 0.1, 1.0])


@dataclass
class Losses:
    """Tasks: logits, labels and, if they are mixed, partners and shares of each."""

    logits: list[Array]
    labels: list[list[Array]]
    smoothing: float
    dlosses: Array

    @classmethod
    def draw(
        cls, tasks: Sequence[tuple[int, int]], smoothing: float, mixed: bool, spread: float = 3
    ) -> "Losses":
        rng = np.random.default_rng(len(tasks))
        labels = [[rng.integers(0, k, n).astype(np.int32) for n, k in tasks] for _ in range(2)]
        shares = [rng.random(n, np.float32) for n, _ in tasks]
        kinds: list[list[Array]] = [*labels, shares] if mixed else labels[:1]
        return cls(
            [rng.normal(0, spread, shape).astype(np.float32) for shape in tasks],
            kinds,
            smoothing,
            rng.normal(0, 1, len(tasks)).astype(np.float32),
        )

    @property
    def inputs(self) -> list[Array]:
        return [
            np.float32(self.smoothing).reshape(()),
            *self.logits,
            *(values for kind in self.labels for values in kind),
        ]

    def native(self, threads: int = 1) -> Array:
        (losses,) = call("cross_entropy", self.inputs, [self.dlosses.shape], threads)
        return losses

    def native_gradients(self, threads: int = 1) -> list[Array]:
        shapes = [own.shape for own in self.logits]
        return call("cross_entropy_grad", [self.dlosses, *self.inputs], shapes, threads)

    def numpy(self) -> tuple[Array, list[Array]]:
        """Losses, and gradients of the logits."""
        losses, gradients = [], []
        for i, own in enumerate(self.logits):
            target, p = self._target(i), own.astype(np.float64)
            log_p = p - p.max(1, keepdims=True)
            log_p -= np.log(np.exp(log_p).sum(1, keepdims=True))
            losses.append(-(target * log_p).sum(1).mean())
            gradients.append(self.dlosses[i] / len(own) * (np.exp(log_p) - target))
        return np.array(losses), gradients

    def _target(self, task: int) -> Array:
        classes = self.logits[task].shape[1]
        rest = self.smoothing / classes
        targets: list[Array] = [
            np.eye(classes)[kind[task]] * (1 - self.smoothing) + rest for kind in self.labels[:2]
        ]
        if len(targets) == 1:
            return targets[0]
        share = self.labels[2][task][:, None].astype(np.float64)
        mixture: Array = share * targets[0] + (1 - share) * targets[1]
        return mixture


@grid
@given(tasks_of_losses, smoothings, st.booleans(), threads_used)
def test_losses_against_numpy(
    tasks: list[tuple[int, int]], smoothing: float, mixed: bool, threads: int
) -> None:
    drawn = Losses.draw(tasks, smoothing, mixed)
    losses, gradients = drawn.numpy()
    assert_close(drawn.native(threads), losses, LOSSES_TOLERANCE)
    assert_close(drawn.native_gradients(threads), gradients, LOSSES_TOLERANCE)


def test_logits_whose_exponentials_are_no_numbers() -> None:
    drawn = Losses.draw([(5, 7), (2, 3)], 0.1, False, spread=1e5)
    losses, gradients = drawn.numpy()
    assert_close(drawn.native(), losses, LOSSES_TOLERANCE)
    assert_close(drawn.native_gradients(), gradients, LOSSES_TOLERANCE)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@np.errstate(invalid="ignore")
def test_what_is_not_finite_comes_through_the_losses(value: float) -> None:
    """And stays in its task, its gradient in its image."""
    drawn = Losses.draw([(3, 5), (2, 4)], 0.1, False)
    drawn.logits[0][1, 2] = value
    losses, gradients = drawn.numpy()
    assert not np.isfinite(losses[0]) and np.isfinite(losses[1])
    assert_alike(drawn.native(), losses)
    assert_alike(drawn.native_gradients(), gradients)


@pytest.mark.parametrize("mixed", [False, True], ids=["plain", "mixed"])
@pytest.mark.parametrize("tasks", [[(3, 5)], [(3, 5), (1, 2)]], ids=["one", "two"])
def test_losses_in_a_graph(graph_mode: None, tasks: list[tuple[int, int]], mixed: bool) -> None:
    """Beside the stock layer: losses and gradients."""
    import mindspore as ms
    from mindspore import Tensor, nn

    from train.model.layers import CrossEntropies as StockCrossEntropies
    from train.model.native_layers import CrossEntropies

    native()
    drawn = Losses.draw(tasks, 0.1, mixed)
    weights = Tensor(drawn.dlosses)
    labels = [[Tensor(values) for values in kind] for kind in drawn.labels]

    class Net(nn.Cell):
        def __init__(self, losses: nn.Cell) -> None:
            super().__init__()
            self.losses = losses

        def construct(self, *logits: Tensor) -> tuple[Tensor, Tensor]:
            losses = self.losses(logits, *labels)
            return (losses * weights).sum(), losses

    expected, gradients = drawn.numpy()
    inputs = [Tensor(own) for own in drawn.logits]
    positions = tuple(range(len(tasks)))
    for layer in (CrossEntropies(0.1), StockCrossEntropies(0.1)):
        run = ms.value_and_grad(Net(layer), positions, has_aux=True)
        (_, losses), found = run(*inputs)
        np.testing.assert_allclose(losses.asnumpy(), expected, rtol=1e-5)
        parts = found if isinstance(found, tuple) else (found,)
        assert_close([part.asnumpy() for part in parts], gradients, 1e-5)

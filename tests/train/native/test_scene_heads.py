"""The heads of several scene tasks in one native operator against float64 numpy."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.train.native_calls import (
    Array,
    assert_alike,
    assert_close,
    call,
    code,
    grid,
    native,
)

# Rounding of a sum of at most 40 or 12 * 3 products, relative to its largest value.
TOLERANCE = 3e-6

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
    st.sampled_from([1, 2]),
)
def test_against_numpy(
    tasks: list[tuple[int, int]], size: tuple[int, int], channels: int, threads: int
) -> None:
    heads = Heads.draw(tasks, size, channels)
    found, gradients = heads.native(threads), heads.native_gradients(threads)
    for actual, wanted in zip(found, heads.numpy(), strict=True):
        assert_close(actual, wanted, TOLERANCE)
    for actual, wanted in zip(gradients, heads.numpy_gradients(), strict=True):
        assert_close(actual, wanted, TOLERANCE)
    again = heads.native_gradients(3 - threads)
    assert all((a == b).all() for a, b in zip(gradients, again, strict=True))


@pytest.mark.parametrize("value", [np.nan, np.inf])
@np.errstate(invalid="ignore")
def test_what_is_not_finite_comes_through(value: float) -> None:
    """And stays in its task."""
    heads = Heads.draw([(2, 5), (1, 0), (2, 4)], (3, 4), 16)
    heads.x[1, 2, 2, 3] = value
    for actual, wanted in zip(heads.native(), heads.numpy(), strict=True):
        assert_alike(actual, wanted)
    heads.dlogits[1][1, 2] = value
    for actual, wanted in zip(heads.native_gradients(), heads.numpy_gradients(), strict=True):
        assert_alike(actual, wanted)


def test_unfit_inputs_in_one_line(capfd: pytest.CaptureFixture[str]) -> None:
    x, bias, logits = (np.zeros(shape, np.float32) for shape in [(3, 4, 4, 5), (8,), (2, 8)])
    weight, other = np.zeros((8, 5), np.float32), np.zeros((8, 6), np.float32)
    for used, own in ((weight, [2, 3]), (weight, [-1, 0]), (other, [0, 1])):
        assert code("scene_heads", [x, used, bias, np.array(own, np.int32)], [logits]) != 0
        message = capfd.readouterr().err
        assert message.count("\n") == 1 and "native operator scene_heads" in message


@pytest.mark.parametrize("tasks", [[(2, 5)], [(2, 5), (1, 0), (3, 4)]], ids=["one", "two of three"])
def test_in_a_graph(graph_mode: None, tasks: list[tuple[int, int]]) -> None:
    import mindspore as ms
    from mindspore import Parameter, ParameterTuple, Tensor, nn

    from train.native.scene_heads import images_of_tasks, scene_heads

    native()
    heads = Heads.draw(tasks, (5, 4), 6)
    scenes = [i for i, (_, classes) in enumerate(tasks) if classes]

    def parameters(name: str, values: Sequence[Array]) -> Any:
        tensors = [Tensor(value.astype(np.float32)) for value in values]
        return ParameterTuple([Parameter(t, name=f"{name}{i}") for i, t in enumerate(tensors)])

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

    net = Net()
    loss, found = ms.jit(ms.value_and_grad(net, None, net.trainable_params()))()
    expected = sum((a * b).sum() for a, b in zip(heads.numpy(), heads.dlogits, strict=True))
    assert float(loss) == pytest.approx(expected, rel=1e-5)
    for part, wanted in zip(found, heads.numpy_gradients(), strict=True):
        assert_close(part.asnumpy(), wanted, TOLERANCE)

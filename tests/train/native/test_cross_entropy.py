"""The cross-entropies of several tasks in one native operator against float64 numpy."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.train.native_calls import Array, assert_alike, assert_close, call, grid, native

# Everything inside is float64: one rounding of the result, and those of the inputs.
TOLERANCE = 3e-7

tasks_used = st.lists(
    st.tuples(st.integers(1, 5), st.sampled_from([1, 2, 5, 16, 33])), min_size=1, max_size=4
)  # images and classes
smoothings = st.sampled_from([0.0, 0.1, 1.0])


@dataclass
class Scenes:
    """Tasks: logits, labels and, if they are mixed, partners and shares of each."""

    logits: list[Array]
    labels: list[list[Array]]
    smoothing: float
    dlosses: Array

    @classmethod
    def draw(
        cls, tasks: Sequence[tuple[int, int]], smoothing: float, mixed: bool, spread: float = 3
    ) -> "Scenes":
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
@given(tasks_used, smoothings, st.booleans(), st.sampled_from([1, 2]))
def test_against_numpy(
    tasks: list[tuple[int, int]], smoothing: float, mixed: bool, threads: int
) -> None:
    scenes = Scenes.draw(tasks, smoothing, mixed)
    losses, gradients = scenes.numpy()
    assert_close(scenes.native(threads), losses, TOLERANCE)
    for actual, wanted in zip(scenes.native_gradients(threads), gradients, strict=True):
        assert_close(actual, wanted, TOLERANCE)


def test_logits_whose_exponentials_are_no_numbers() -> None:
    scenes = Scenes.draw([(5, 7), (2, 3)], 0.1, False, spread=1e5)
    losses, gradients = scenes.numpy()
    assert_close(scenes.native(), losses, TOLERANCE)
    for actual, wanted in zip(scenes.native_gradients(), gradients, strict=True):
        assert_close(actual, wanted, TOLERANCE)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@np.errstate(invalid="ignore")
def test_what_is_not_finite_comes_through(value: float) -> None:
    """And stays in its task, its gradient in its image."""
    scenes = Scenes.draw([(3, 5), (2, 4)], 0.1, False)
    scenes.logits[0][1, 2] = value
    losses, gradients = scenes.numpy()
    assert not np.isfinite(losses[0]) and np.isfinite(losses[1])
    assert_alike(scenes.native(), losses)
    for actual, wanted in zip(scenes.native_gradients(), gradients, strict=True):
        assert_alike(actual, wanted)


@pytest.mark.parametrize("mixed", [False, True], ids=["plain", "mixed"])
@pytest.mark.parametrize("tasks", [[(3, 5)], [(3, 5), (1, 2)]], ids=["one", "two"])
def test_in_a_graph(graph_mode: None, tasks: list[tuple[int, int]], mixed: bool) -> None:
    """Beside the stock layer: losses and gradients."""
    import mindspore as ms
    from mindspore import Tensor, nn

    from train.model.layers import CrossEntropies as StockCrossEntropies
    from train.model.native_backend import CrossEntropies

    native()
    scenes = Scenes.draw(tasks, 0.1, mixed)
    weights = Tensor(scenes.dlosses)
    labels = [[Tensor(values) for values in kind] for kind in scenes.labels]

    class Net(nn.Cell):
        def __init__(self, losses: nn.Cell) -> None:
            super().__init__()
            self.losses = losses

        def construct(self, *logits: Tensor) -> tuple[Tensor, Tensor]:
            losses = self.losses(logits, *labels)
            return (losses * weights).sum(), losses

    expected, gradients = scenes.numpy()
    inputs = [Tensor(own) for own in scenes.logits]
    positions = tuple(range(len(tasks)))
    for layer in (CrossEntropies(0.1), StockCrossEntropies(0.1)):
        run = ms.value_and_grad(Net(layer), positions, has_aux=True)
        (_, losses), found = run(*inputs)
        np.testing.assert_allclose(losses.asnumpy(), expected, rtol=1e-5)
        parts = found if isinstance(found, tuple) else (found,)
        for part, wanted in zip(parts, gradients, strict=True):
            assert_close(part.asnumpy(), wanted, 1e-5)

"""The compiled step against independent computations, on one rank."""

from collections.abc import Sequence
from typing import Any

import mindspore as ms
import numpy as np
import pytest
from mindspore import Parameter, Tensor

from tests.train.networks import (
    CLASSES,
    TASKS,
    make_network,
    make_scene_batch,
    make_scene_network,
    make_step,
    scene,
    trainable,
    values,
)
from tests.train.numerics import assert_gradient, numpy_cross_entropy
from train.model.backend import Backend
from train.model.layers import cross_entropy, smoothed
from train.model.mtln import MTLN, is_shared, split_by_branch
from train.optim.optimizers import SGD, AdamW, FlatOptimizer, decay_of, scalar
from train.optim.update import Subtract
from train.step.train_step import StepOptions, TrainStep

pytestmark = pytest.mark.usefixtures("graph_mode")

MOMENTUM, DECAY = 0.9, 1e-3


def make_scene_step(
    network: MTLN,
    optimizer: FlatOptimizer | None = None,
    clip: float = 0,
    mixed: bool = False,
) -> TrainStep:
    options = StepOptions(clip_norm=clip)
    return make_step(network, list(CLASSES), TASKS, optimizer, options=options, mixed=mixed)


def loss_of(step: TrainStep, batch: Sequence[Tensor]) -> float:
    return float(losses_of(step, batch).sum())


def losses_of(step: TrainStep, batch: Sequence[Tensor]) -> np.ndarray:
    return np.array(step.losses(batch, Tensor(np.ones(3, np.float32))).asnumpy())


def test_cross_entropy_against_numpy() -> None:
    rng = np.random.default_rng(1)
    logits, labels = rng.normal(0, 3, (6, 5)).astype(np.float32), rng.integers(0, 5, 6)
    for smoothing in (0.0, 0.1):
        expected = numpy_cross_entropy(logits, labels, smoothing)
        target = smoothed(Tensor(labels.astype(np.int32)), 5, smoothing)
        found = cross_entropy(Tensor(logits), target)
        assert float(found.asnumpy()) == pytest.approx(expected, rel=1e-5)


def test_loss_of_mixed_images_against_numpy(eager: None) -> None:
    """Their own label counts by their share, their partner's by the rest."""
    network = make_scene_network("group")
    batch = make_scene_batch()
    rng = np.random.default_rng(3)
    partners = [rng.integers(0, count, 2).astype(np.int32) for count in CLASSES.values()]
    shares = [rng.random(2, np.float32) for _ in CLASSES]
    step = make_scene_step(network, mixed=True)
    extended = [*batch, *map(Tensor, partners), *map(Tensor, shares)]
    logits = [x.asnumpy() for x in network(*batch[:3])]
    for i, loss in enumerate(losses_of(step, extended)):
        expected = np.mean(
            [
                share * numpy_cross_entropy(row[None], [own], 0.1)
                + (1 - share) * numpy_cross_entropy(row[None], [other], 0.1)
                for row, own, other, share in zip(
                    logits[i], batch[3 + i].asnumpy(), partners[i], shares[i], strict=True
                )
            ]
        )
        assert loss == pytest.approx(expected, rel=1e-4)


@pytest.fixture(scope="module")
def compiled() -> tuple[MTLN, TrainStep, dict[str, np.ndarray]]:
    """A network, its compiled step and its first parameters; compiling takes most of the time."""
    network = make_scene_network("group")
    sgd = SGD(decay_of(trainable(network), DECAY), MOMENTUM, nesterov=True)
    return network, make_scene_step(network, sgd), values(network)


def start_anew(network: MTLN, step: TrainStep, first: dict[str, np.ndarray]) -> None:
    for parameter in network.get_parameters():
        parameter.set_data(Tensor(first[parameter.name]))
    momentum = step.update.optimizer.momentum
    momentum.set_data(Tensor(np.zeros(momentum.shape, np.float32)))


@pytest.mark.slow
def test_gradient_against_finite_differences(
    graph_mode: None,
    compiled: tuple[MTLN, TrainStep, dict[str, np.ndarray]],
) -> None:
    """The first change of a parameter at rate 1 is its gradient, after decay and momentum."""
    network, step, before = compiled
    start_anew(*compiled)
    batch = make_scene_batch()
    step(scalar(1.0), *batch)
    gradient = {
        name: (before[name] - value) / (1 + MOMENTUM) - DECAY * before[name] * (value.ndim > 1)
        for name, value in values(network).items()
    }
    start_anew(*compiled)
    parameters = {p.name: p for p in network.trainable_params()}
    # The loss operator by operator: quicker than to compile it for a few calls.
    ms.set_context(mode=ms.PYNATIVE_MODE)
    names = (
        "shared.trunk.stem.weight",
        "shared.extractors.1.conv.weight",
        "tasks.aid.attention.2.conv1.weight",
        "tasks.nwpu.head.linear.weight",
    )
    assert_gradient(parameters, gradient, names, lambda: loss_of(step, batch))


def test_each_head_serves_its_own_task(eager: None) -> None:
    """Only the labels of a task, and its own branch, move its loss (the reference used head 0)."""
    network = make_scene_network("group")
    step, batch = make_scene_step(network), make_scene_batch()
    names = list(CLASSES)

    logits = [x.asnumpy() for x in network(*batch[:3])]
    assert [x.shape for x in logits] == [(2, count) for count in CLASSES.values()]
    reference = losses_of(step, batch)
    for task_logits, task_labels, loss in zip(logits, batch[3:], reference, strict=True):
        expected = numpy_cross_entropy(task_logits, task_labels.asnumpy(), 0.1)
        assert loss == pytest.approx(expected, rel=1e-4)
    for i, name in enumerate(names):
        bias = {p.name: p for p in network.trainable_params()}[f"tasks.{name}.head.linear.bias"]
        kept = bias.asnumpy().copy()
        bias.set_data(Tensor(kept + np.arange(kept.size, dtype=np.float32)))
        moved = [x.asnumpy() for x in network(*batch[:3])]
        changed = [not np.allclose(a, b) for a, b in zip(logits, moved, strict=True)]
        assert changed == [j == i for j in range(3)]
        assert (losses_of(step, batch) != reference).tolist() == changed
        bias.set_data(Tensor(kept))


def test_each_task_sees_its_own_images(eager: None) -> None:
    """With group norm images do not mix: a data set's pixels move only its own task's answers."""
    network = make_scene_network("group")
    batch = make_scene_batch()[:3]
    reference = [x.asnumpy() for x in network(*batch)]
    for i in range(3):
        other = [*batch[:i], Tensor(255 - batch[i].asnumpy()), *batch[i + 1 :]]
        changed = [
            not np.allclose(a, b.asnumpy(), atol=1e-6)
            for a, b in zip(reference, network(*other), strict=True)
        ]
        assert changed == [j == i for j in range(3)]


def test_one_data_set_can_feed_two_tasks(eager: None) -> None:
    tasks = [scene("one", "b", 3), scene("two", "a", 2), scene("three", "b", 5)]
    network = make_network(Backend("group"), ["a", "b"], tasks)
    rng = np.random.default_rng(0)
    images = [Tensor(rng.integers(0, 256, (n, 12, 12, 3), np.uint8)) for n in (2, 3)]
    assert [x.shape for x in network(*images)] == [(3, 3), (2, 2), (3, 5)]


@pytest.mark.parametrize("size", [8, 13, 15, 16])
def test_any_image_size(eager: None, size: int) -> None:
    network = make_scene_network()
    network.set_train(False)
    images = [Tensor(np.zeros((1, size, size, 3), np.uint8)) for _ in CLASSES]
    assert [x.shape for x in network(*images)] == [(1, count) for count in CLASSES.values()]


def test_partition_of_the_parameters() -> None:
    network = make_scene_network()
    shared, branches = split_by_branch(network)
    assert len(shared) + len(branches) == len(network.trainable_params())
    assert {p.name.split(".")[0] for p in shared} == {"shared"}
    assert {p.name.split(".")[1] for p in branches} == set(CLASSES)
    with pytest.raises(ValueError, match="neither"):
        is_shared("network.shared.stem.weight")


def numpy_sgd(
    w: Any, g: Any, state: dict[str, Any], rate: float, decay: Any, mu: float, nesterov: bool
) -> Any:
    g = g + decay * w
    state["m"] = mu * state.get("m", 0) + g
    return w - rate * (g + mu * state["m"] if nesterov else state["m"])


def numpy_adamw(
    w: Any, g: Any, state: dict[str, Any], rate: float, decay: Any, t: int, b1: float, b2: float
) -> Any:
    state["m"] = b1 * state.get("m", 0) + (1 - b1) * g
    state["v"] = b2 * state.get("v", 0) + (1 - b2) * g * g
    m, v = state["m"] / (1 - b1**t), state["v"] / (1 - b2**t)
    return w - rate * (m / (np.sqrt(v) + 1e-6) + decay * w)


@pytest.mark.parametrize("name", ["nesterov", "heavy ball", "adamw"])
def test_optimizers_against_numpy(name: str) -> None:
    rng = np.random.default_rng(0)
    decay = np.array([0.1, 0.0, 0.1, 0.0], np.float32)
    optimizer: FlatOptimizer
    if name == "adamw":
        optimizer = AdamW(decay, 0.9, 0.99, 1e-6)
    else:
        optimizer = SGD(decay, 0.8, nesterov=name == "nesterov")
    w = rng.normal(size=4)
    found = w.astype(np.float32)
    state: dict[str, Any] = {}
    for t in range(1, 6):
        # A step that does not count moves nothing, and is no update to an optimizer that counts.
        spoilt = Tensor(np.array([np.nan, np.inf, 1, 1], np.float32))
        nothing = optimizer(Tensor(found), spoilt, Tensor(False), scalar(1.0))
        np.testing.assert_array_equal(nothing.asnumpy(), 0)
        g, rate = rng.normal(size=4), 0.1 / t
        if name == "adamw":
            w = numpy_adamw(w, g, state, rate, decay, t, 0.9, 0.99)
        else:
            w = numpy_sgd(w, g, state, rate, decay, 0.8, name == "nesterov")
        gradient = Tensor(g.astype(np.float32))
        change = optimizer(Tensor(found), gradient, Tensor(True), scalar(rate))
        found = found - change.asnumpy()
        np.testing.assert_allclose(found, w, rtol=2e-5)


@pytest.mark.slow
def test_an_update_of_many_parameters() -> None:
    """More than a split has parts for in MindSpore, whose call depth is limited."""
    rng = np.random.default_rng(0)
    shapes = [(2, 1 + i % 3) if i % 2 else (3,) for i in range(260)]
    before = [rng.normal(size=shape).astype(np.float32) for shape in shapes]
    parameters = [Parameter(Tensor(x), name=f"p{i}") for i, x in enumerate(before)]
    change = rng.normal(size=sum(x.size for x in before)).astype(np.float32)
    Subtract(parameters)(Tensor(change))
    after = np.concatenate([p.asnumpy().ravel() for p in parameters])
    np.testing.assert_array_equal(after, np.concatenate([x.ravel() for x in before]) - change)


def test_decay_spares_biases_and_norms() -> None:
    network = make_scene_network()
    parameters = network.trainable_params()
    decay = np.split(decay_of(parameters, 0.5), np.cumsum([p.size for p in parameters])[:-1])
    for parameter, part in zip(parameters, decay, strict=True):
        expected = 0.5 if parameter.name.endswith("weight") else 0.0
        assert (part == expected).all(), parameter.name


def test_clipping_limits_the_global_norm(eager: None) -> None:
    changes = {}
    for clip in (0.0, 0.01):
        network = make_scene_network("group")
        step = make_scene_step(network, clip=clip)
        before = values(network)
        result = step(scalar(1.0), *make_scene_batch()).asnumpy()
        after = values(network)
        changes[clip] = np.concatenate([(before[n] - after[n]).ravel() for n in before])
        norm = result[-2]
    assert np.linalg.norm(changes[0.0]) == pytest.approx(norm, rel=1e-4)
    assert np.linalg.norm(changes[0.01]) == pytest.approx(0.01, rel=1e-3)
    np.testing.assert_allclose(changes[0.01] / 0.01, changes[0.0] / norm, atol=2e-4)

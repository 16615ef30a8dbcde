"""The network with tasks of both kinds, and its variants, against independent computations."""

from collections.abc import Sequence

import numpy as np
import pytest
from mindspore import Tensor, nn

from tests.train import networks
from tests.train.numerics import IGNORED, assert_gradient, numpy_cross_entropy, numpy_pixels
from train.model.backend import Backend, Norm
from train.model.mtln import MTLN, BranchKind
from train.optim.optimizers import scalar
from train.step.reduction import Exchange
from train.tasks.base import Task
from train.tasks.segmentation import dice, pixel_cross_entropy, pixel_targets

Array = np.ndarray
DATASETS = {"ucm": 2, "gid": 3}  # with their images in a batch
TASKS: list[Task] = [
    networks.segmentation("pixels", "gid", 4),
    networks.scene("ucm", "ucm", 2),
    networks.scene("scene", "gid", 3),
]
SIZE = 13


def make_network(
    norm: Norm = "group", branch: BranchKind = "attention", tasks: Sequence[Task] = TASKS
) -> MTLN:
    return networks.make_network(Backend(norm), list(DATASETS), tasks, branch=branch)


def make_images() -> list[Tensor]:
    rng = np.random.default_rng(0)
    shapes = [(count, SIZE, SIZE, 3) for count in DATASETS.values()]
    return [Tensor(rng.integers(0, 256, shape, np.uint8)) for shape in shapes]


def normalised(images: Sequence[Tensor]) -> list[Array]:
    """What the trunk sees of every data set."""
    seen = []
    for number, (name, pixels) in enumerate(zip(DATASETS, images, strict=True)):
        info = networks.statistics(name, number)
        values = (pixels.asnumpy() / 255.0 - info.mean) / info.std
        seen.append(values.transpose(0, 3, 1, 2).astype(np.float32))
    return seen


def as_cell(trunk: object) -> nn.Cell:
    assert isinstance(trunk, nn.Cell)
    return trunk


def make_batch() -> list[Tensor]:
    """Images, labels and masks; one mask without a single valid pixel."""
    rng = np.random.default_rng(1)
    labels = [rng.integers(0, 2, count).astype(np.int32) for count in DATASETS.values()]
    mask = rng.integers(0, 4, (3, SIZE, SIZE), np.uint8)
    mask[0, :5] = IGNORED
    mask[1] = IGNORED
    return [*make_images(), *map(Tensor, labels), Tensor(mask)]


def test_pixel_losses_against_numpy(eager: None) -> None:
    rng = np.random.default_rng(2)
    logits = rng.normal(0, 3, (3, 4, 5, 6)).astype(np.float32)
    mask = rng.integers(0, 4, (3, 5, 6), np.uint8)
    mask[rng.random(mask.shape) < 0.3] = IGNORED
    mask[1][mask[1] == 2] = 0  # a class that one image does not have
    mask[2] = IGNORED
    entropy, expected = numpy_pixels(logits, mask)
    targets = pixel_targets(Tensor(mask), 4)
    assert float(pixel_cross_entropy(Tensor(logits), targets)) == pytest.approx(entropy, rel=1e-5)
    assert float(dice(Tensor(logits), targets)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.slow
def test_joint_step(graph_mode: None) -> None:
    """Losses = numpy on the network's answers; gradient = finite differences, decoder included."""
    tasks = [networks.segmentation("pixels", "gid", 4, dice=0.5), *TASKS[1:]]
    network = make_network(tasks=tasks)
    step, batch = networks.make_step(network, list(DATASETS), tasks), make_batch()
    pixels, ucm, scene = (x.asnumpy() for x in network(*batch[:2]))
    assert [x.shape for x in (pixels, ucm, scene)] == [(3, 4, SIZE, SIZE), (2, 2), (3, 3)]
    mask = batch[4].asnumpy()
    entropy, lost = numpy_pixels(pixels, mask)
    expected = [
        entropy / (mask != IGNORED).sum() + 0.5 * lost,
        numpy_cross_entropy(ucm, batch[2].asnumpy(), 0.1),
        numpy_cross_entropy(scene, batch[3].asnumpy(), 0.1),
    ]
    before = {p.name: p.asnumpy().copy() for p in network.get_parameters()}
    result = step(scalar(1.0), *batch).asnumpy()
    np.testing.assert_allclose(result[:3], expected, rtol=1e-4)
    np.testing.assert_array_equal(result[3:6], 1)  # weights

    parameters = {p.name: p for p in network.trainable_params()}
    gradient = {name: before[name] - p.asnumpy() for name, p in parameters.items()}
    for name, parameter in parameters.items():
        parameter.set_data(Tensor(before[name]))
    valid = Tensor(np.full(3, (mask != IGNORED).sum(), np.float32))
    names = (
        "tasks.pixels.head.lateral.0.weight",
        "tasks.pixels.head.lateral.3.weight",
        "tasks.pixels.attention.0.conv1.weight",
        "shared.extractors.0.conv.weight",
    )
    assert_gradient(
        parameters, gradient, names, lambda: float(step.losses(batch, valid).sum().asnumpy())
    )

    batch[4] = Tensor(np.full_like(mask, IGNORED))
    result = step(scalar(0.1), *batch).asnumpy()
    assert result[0] == 0 and result[-1] == 1  # nothing to learn from, and no division by zero


class OfAnIdleRank(nn.Cell):
    """The sum over two ranks, the other of which has nothing but zeros."""

    def construct(self, own: Tensor) -> Tensor:
        return own.copy()


def test_pixels_are_divided_by_those_of_all_ranks(eager: None) -> None:
    """Also where there is one in all: its loss counts on its rank as much as on one rank alone."""
    tasks = [networks.segmentation("pixels", "gid", 4), *TASKS[1:]]
    network, batch = make_network(tasks=tasks), make_batch()
    exchange = Exchange(2, OfAnIdleRank())
    step = networks.make_step(network, list(DATASETS), tasks, exchange=exchange)
    mask = np.full_like(batch[4].asnumpy(), IGNORED)
    for classes, expected in ((0, 0.5), (1, 0.5), (7, 3.5)):
        mask[0].ravel()[:classes] = 2
        batch[4] = Tensor(mask.copy())
        assert step.totals(batch).asnumpy()[0] == expected


def test_losses_of_a_rank_with_more_images_of_one_data_set_than_others(eager: None) -> None:
    """They count by its images; where pixels are counted over all ranks, they are so already."""
    pixels = [networks.segmentation(name, "gid", 4, dice=0.5) for name in ("pixels", "again")]
    tasks = [pixels[0], *TASKS[1:], pixels[1]]
    network, batch = make_network(tasks=tasks), make_batch()
    totals = Tensor(np.array([7, 0, 0, 5], np.float32))
    even, uneven = (
        networks.make_step(network, list(DATASETS), tasks, weights=weights)
        .losses(batch, totals)
        .asnumpy()
        for weights in (None, [0.5, 1.75])
    )
    answers, mask = [x.asnumpy() for x in network(*batch[:2])], batch[4].asnumpy()
    for i, total in ((0, 7), (3, 5)):
        entropy, lost = numpy_pixels(answers[i], mask)
        assert even[i] == pytest.approx(entropy / total + 0.5 * lost, rel=1e-4)
        assert uneven[i] == pytest.approx(entropy / total + 1.75 * 0.5 * lost, rel=1e-4)
    np.testing.assert_allclose(uneven[1:3], [0.5 * even[1], 1.75 * even[2]], rtol=1e-5)


def test_every_image_passes_the_shared_branch_once(eager: None) -> None:
    """However many tasks its data set feeds."""
    network = make_network()
    seen: list[tuple[int, ...]] = []
    trunk = as_cell(network.shared.trunk)
    trunk.register_forward_pre_hook(lambda cell, inputs: seen.append(inputs[0].shape))
    network(*make_images())
    assert seen == [(5, 3, SIZE, SIZE)]


def test_linear_branches_are_heads_on_the_trunk(eager: None) -> None:
    network = make_network(branch="linear")
    names = {p.name for p in network.get_parameters()}
    assert not any("attention" in name or "extractors" in name for name in names)
    images = make_images()
    pixels, ucm, scene = (x.asnumpy() for x in network(*images))
    assert pixels.shape == (3, 4, SIZE, SIZE)
    mixed = np.concatenate(normalised(images))
    last = network.shared.trunk(Tensor(mixed), [2, 3])[-1]
    pooled = last.asnumpy().mean((2, 3))
    for answer, name, part in ((ucm, "ucm", pooled[:2]), (scene, "scene", pooled[2:])):
        linear = network.tasks[name].head.linear
        expected = part @ linear.weight.asnumpy().T + linear.bias.asnumpy()
        np.testing.assert_allclose(answer, expected, rtol=1e-4, atol=1e-6)


def test_domain_norm_keeps_the_statistics_of_every_data_set_apart(eager: None) -> None:
    network = make_network(norm="domain", branch="linear", tasks=TASKS[1:])
    images = make_images()
    network(*images)
    values = {p.name: p.asnumpy() for p in network.get_parameters()}
    for name, pixels in zip(DATASETS, normalised(images), strict=True):
        stem = as_cell(network.shared.trunk).stem(Tensor(pixels)).asnumpy()
        found = values[f"shared.trunk.stages.0.0.norm1.of.{name}.moving_mean"]
        np.testing.assert_allclose(found, 0.1 * stem.mean((0, 2, 3)), rtol=1e-3, atol=1e-6)
    assert "shared.trunk.final_norm.of.gid.gamma" in values

"""Evaluation of scene and segmentation tasks with tiny networks whose answers numpy knows."""

from collections.abc import Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, nn, ops

from train.data.batch import Batch, BatchLayout
from train.distributed.collectives import Counts, OneProcess
from train.evaluation.evaluator import Evaluator, PredictStep
from train.step.graph_cache import GraphCache
from train.tasks.metrics import (
    PixelCounts,
    classification_metrics,
    confusion_matrix,
    segmentation_metrics,
)
from train.tasks.scene import SceneTask
from train.tasks.segmentation import SegmentationTask

H, W = 6, 8
COVER = ("field", "forest", "water")
SCENES = ("water", "field")


@pytest.fixture(autouse=True)
def graph_mode() -> None:
    ms.set_context(mode=ms.GRAPH_MODE)
    ms.set_device("CPU")


class Network(nn.Cell):
    """The first data set feeds a scene and a segmentation task, the second one a scene task.

    Logits are colours times weights that differ from pixel to pixel: mirrored images get other
    answers.
    """

    def __init__(self) -> None:
        super().__init__()
        rng = np.random.default_rng(0)
        self.weights = rng.normal(0, 0.05, (2, 3, H, W)).astype(np.float32)
        self.for_scenes, self.for_pixels = (Tensor(w) for w in self.weights)
        self.set_train(True)

    def construct(self, *images: Tensor) -> list[Tensor]:
        first, second = (ops.transpose(x.astype(ms.float32), (0, 3, 1, 2)) for x in images)
        scenes = (first * self.for_scenes).mean((2, 3))[:, :2]
        return [scenes, first * self.for_pixels, (second * self.for_scenes).mean((2, 3))]

    def numpy(self, first: np.ndarray, second: np.ndarray) -> list[np.ndarray]:
        first, second = (np.moveaxis(x.astype(np.float64), -1, 1) for x in (first, second))
        scenes, pixels = self.weights
        return [
            (first * scenes).mean((2, 3))[:, :2],
            first * pixels,
            (second * scenes).mean((2, 3)),
        ]


TASKS = [
    SceneTask("land", "land", SCENES),
    SegmentationTask("cover", "land", COVER, "cover"),
    SceneTask("town", "town", ("a", "b", "c")),
]


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(1, keepdims=True))
    probabilities: np.ndarray = powers / powers.sum(1, keepdims=True)
    return probabilities


def images(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, H, W, 3), np.uint8)


def test_flips_average_the_probabilities_of_four_mirror_images() -> None:
    network = Network()
    first, second = images(5, 1), images(20, 2)
    predict = PredictStep(network, TASKS, flips=True)
    answers = [a.asnumpy() for a in predict(Tensor(first), Tensor(second))]

    expected: list[Any] = [0, 0, 0]
    for turn in (lambda x: x, np.fliplr, np.flipud, lambda x: x[::-1, ::-1]):
        views = [np.stack([turn(image) for image in data]) for data in (first, second)]
        probabilities = [softmax(logits) for logits in network.numpy(*views)]
        # Masks of probabilities are turned back: every turn is its own inverse.
        masks = np.stack([[turn(mask) for mask in image] for image in probabilities[1]])
        probabilities[1] = masks
        expected = [e + p for e, p in zip(expected, probabilities, strict=True)]
    for answer, sums in zip(answers, expected, strict=True):
        np.testing.assert_array_equal(answer, sums.argmax(1))
    assert [a.dtype for a in answers] == [np.int32, np.uint8, np.int32]

    plain = network.numpy(first, second)
    assert all((a != p.argmax(1)).any() for a, p in zip(answers[1:], plain[1:], strict=True))


@dataclass
class Batches:
    """Stands for an EvaluationLoader."""

    found: list[Batch]
    network: nn.Cell
    sets = (
        SimpleNamespace(name="land", manifest=SimpleNamespace(classes=SCENES)),
        SimpleNamespace(name="town", manifest=SimpleNamespace(classes=("a", "b", "c"))),
    )
    layout = BatchLayout(["land", "town"], {"land": ["unused", "cover"]})

    def batches(self, split: str) -> Iterator[Batch]:
        assert split == "test" and not self.network.training
        yield from self.found


class Rank(OneProcess):
    """Adds the counts of another rank to its own, and keeps these."""

    def __init__(self, other: Counts | None = None) -> None:
        self.other = other

    def sum_counts(self, counts: Counts) -> Counts:
        self.own = counts.copy()
        return counts if self.other is None else counts + self.other


def batch(seed: int, padded: int) -> Batch:
    """4 and 3 images, the last ``padded`` of the first data set only fill up."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, 4).astype(np.int32), rng.integers(-1, 3, 3).astype(np.int32)
    unused, masks = rng.integers(0, 3, (2, 4, H, W), np.uint8)
    masks[0] = labels[0][0]
    masks[rng.random(masks.shape) < 0.2] = 255
    if padded:
        labels[0][-padded:] = -1
        masks[-padded:] = 255
    return images(4, seed), images(3, seed + 9), *labels, unused, masks


def evaluator(network: nn.Cell, batches: list[Batch], rank: Rank, beats: list[int]) -> Evaluator:
    loader: Any = Batches(batches, network)
    graphs = GraphCache(None, {}, 0)
    return Evaluator(network, loader, TASKS, rank, lambda: beats.append(1), False, graphs)


def test_ranks_together_give_the_metrics_of_all_images() -> None:
    network = Network()
    parts = [[batch(1, 0), batch(2, 3)], [batch(3, 1)]]
    first = Rank()
    beats: list[int] = []
    alone = evaluator(network, parts[0], first, beats).evaluate("test")
    together = evaluator(network, parts[1], Rank(first.own), beats).evaluate("test")
    assert len(beats) == 3 and network.training

    columns = [np.concatenate(c) for c in zip(*parts[0], *parts[1], strict=True)]
    land, cover, town = (x.argmax(1) for x in network.numpy(*columns[:2]))
    counts = PixelCounts.zeros(3)
    # SCENES in COVER: water is 2, field is 0; padded images have no pixel, whatever is painted.
    counts.add(cover, columns[5], np.array([2, 0, 1])[columns[2]])
    expected = {
        "land": classification_metrics(confusion_matrix(columns[2], land, 2), SCENES),
        "cover": segmentation_metrics(counts, COVER, has_oracle=True),
        "town": classification_metrics(confusion_matrix(columns[3], town, 3), ("a", "b", "c")),
    }
    assert together == expected and alone != expected
    assert together["land"]["kind"] == "scene" and together["land"]["images"] == 8
    assert together["cover"]["images"] == 8
    assert together["cover"]["oracle"]["pixel_accuracy"] != together["cover"]["pixel_accuracy"]

    network.set_train(False)
    again = evaluator(network, parts[0], Rank(), beats)
    assert again.evaluate("test") == again.evaluate("test") == alone
    assert not network.training

"""Metrics of segmentation tasks against the definitions, pixel by pixel in plain Python."""

from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from train.tasks.metrics import PixelCounts, oracle_classes, segmentation_metrics

CLASSES = ["field", "forest", "water", "never"]


def counted(
    predictions: np.ndarray, masks: np.ndarray, painted: np.ndarray | None = None, classes: int = 4
) -> PixelCounts:
    counts = PixelCounts.zeros(classes)
    counts.add(predictions, masks, painted)
    return counts


def drawn(seed: int, images: int = 7) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Predictions, masks and scenes; some images of one class, one without any, none "never"."""
    rng = np.random.default_rng(seed)
    masks = rng.integers(0, 3, (images, 5, 6), np.uint8)
    masks[::3] = rng.integers(0, 3)
    masks[rng.random(masks.shape) < 0.3] = 255
    masks[4] = 255
    predictions = np.where(rng.random(masks.shape) < 0.6, masks, rng.integers(0, 3, masks.shape))
    predictions[masks == 255] = rng.integers(0, 4, int((masks == 255).sum()))
    return predictions.astype(np.uint8), masks, rng.integers(0, 3, images)


def pairs(predictions: Any, masks: Any, several: bool) -> list[tuple[int, int]]:
    """(True, predicted) class of every valid pixel, of all images or those of several classes."""
    found = []
    for prediction, mask in zip(predictions.tolist(), masks.tolist(), strict=True):
        both = [
            (t, p)
            for row, other in zip(mask, prediction, strict=True)
            for t, p in zip(row, other, strict=True)
            if t != 255
        ]
        if not several or len({t for t, _ in both}) > 1:
            found += both
    return found


def slow_iou(pixels: list[tuple[int, int]], k: int) -> Fraction | None:
    either = sum(t == k or p == k for t, p in pixels)
    return Fraction(sum(t == k and p == k for t, p in pixels), either) if either else None


def slow_brief(pixels: list[tuple[int, int]]) -> dict[str, Any]:
    known = [iou for k in range(4) if (iou := slow_iou(pixels, k)) is not None]
    return {
        "pixel_accuracy": pytest.approx(
            float(Fraction(sum(t == p for t, p in pixels), len(pixels)))
        ),
        "mean_iou": pytest.approx(float(sum(known) / len(known))),
    }


@pytest.mark.parametrize("seed", range(6))
def test_against_the_definitions_counted_pixel_by_pixel(seed: int) -> None:
    predictions, masks, scenes = drawn(seed)
    metrics = segmentation_metrics(counted(predictions, masks, scenes), CLASSES, has_oracle=True)

    pixels, of_several = pairs(predictions, masks, False), pairs(predictions, masks, True)
    classes_of = [{v for v in mask.ravel().tolist() if v != 255} for mask in masks]
    ious = [slow_iou(pixels, k) for k in range(4)]
    weighted = sum(sum(t == k for t, _ in pixels) * iou for k, iou in enumerate(ious) if iou)
    painted = np.broadcast_to(scenes[:, None, None], masks.shape)
    expected = {
        "kind": "segmentation",
        **slow_brief(pixels),
        "frequency_weighted_iou": pytest.approx(float(weighted / len(pixels))),
        "per_class_iou": {
            name: None if iou is None else pytest.approx(float(iou))
            for name, iou in zip(CLASSES, ious, strict=True)
        },
        "images": 6,
        "pixels": len(pixels),
        "multi_class": {"images": sum(len(c) > 1 for c in classes_of), **slow_brief(of_several)},
        "oracle": {
            **slow_brief(pairs(painted, masks, False)),
            "multi_class": slow_brief(pairs(painted, masks, True)),
        },
        "confusion_matrix": [
            [sum((t, p) == (a, b) for t, p in pixels) for b in range(4)] for a in range(4)
        ],
    }
    assert metrics == expected
    assert metrics["per_class_iou"]["never"] is None and 0 < metrics["multi_class"]["images"] < 6


def test_two_small_images_by_hand() -> None:
    """One of the class field alone, one of field and water, of which a pixel has no class."""
    masks = np.array([[[0, 0], [0, 0]], [[0, 2], [2, 255]]], np.uint8)
    predictions = np.array([[[0, 0], [0, 2]], [[0, 2], [0, 1]]], np.uint8)
    metrics = segmentation_metrics(
        counted(predictions, masks, np.array([0, 2])), CLASSES, has_oracle=True
    )
    # field: 4 of 6 pixels that are or were taken for it; water: 1 of 3.
    assert metrics["per_class_iou"] == {
        "field": pytest.approx(4 / 6),
        "forest": None,
        "water": pytest.approx(1 / 3),
        "never": None,
    }
    assert metrics["pixel_accuracy"] == pytest.approx(5 / 7)
    assert metrics["mean_iou"] == pytest.approx(1 / 2)
    assert metrics["frequency_weighted_iou"] == pytest.approx((5 * 4 / 6 + 2 * 1 / 3) / 7)
    assert (metrics["images"], metrics["pixels"]) == (2, 7)
    assert metrics["multi_class"] == {
        "images": 1,
        "pixel_accuracy": pytest.approx(2 / 3),
        "mean_iou": pytest.approx(1 / 2),
    }
    # Painted field and water: 4 and 2 pixels right, one of field taken for water.
    assert metrics["oracle"] == {
        "pixel_accuracy": pytest.approx(6 / 7),
        "mean_iou": pytest.approx((4 / 5 + 2 / 3) / 2),
        "multi_class": {"pixel_accuracy": pytest.approx(2 / 3), "mean_iou": pytest.approx(1 / 3)},
    }


def test_counts_of_parts_add_up_to_those_of_the_whole() -> None:
    predictions, masks, scenes = drawn(3)
    parts = [
        counted(predictions[part], masks[part], scenes[part]).vector()
        for part in (slice(0, 7, 2), slice(1, 7, 2))
    ]
    total = PixelCounts.from_vector(parts[0] + parts[1], 4)
    whole = counted(predictions, masks, scenes)
    np.testing.assert_array_equal(total.vector(), whole.vector())
    assert segmentation_metrics(total, CLASSES, True) == segmentation_metrics(whole, CLASSES, True)
    assert (
        whole.images.sum() == 6 and whole.network.sum() == whole.oracle.sum() == (masks < 255).sum()
    )


def test_most_classes_that_a_mask_can_have() -> None:
    values = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)
    metrics = segmentation_metrics(
        counted(values, values, classes=255), [str(k) for k in range(255)], has_oracle=False
    )
    assert metrics["pixels"] == 255 and metrics["pixel_accuracy"] == metrics["mean_iou"] == 1


def test_without_any_image() -> None:
    metrics = segmentation_metrics(PixelCounts.zeros(2), ["a", "b"], has_oracle=True)
    nothing = {"pixel_accuracy": None, "mean_iou": None}
    assert {key: metrics[key] for key in nothing} == nothing
    assert metrics["frequency_weighted_iou"] is None
    assert metrics["per_class_iou"] == {"a": None, "b": None}
    assert metrics["multi_class"] == {"images": 0, **nothing}
    assert metrics["oracle"] == {**nothing, "multi_class": nothing}


def test_oracle_goes_by_the_names_of_the_classes() -> None:
    classes = ["water", "field", "forest"]
    found = oracle_classes(["forest", "water"], classes)
    assert found is not None and found.tolist() == [2, 0]
    assert oracle_classes(["forest", "town"], classes) is None
    assert oracle_classes([], classes) is None
    every = oracle_classes(classes[::-1], classes)
    assert every is not None and every.tolist() == list(range(len(classes)))[::-1]


def test_without_oracle() -> None:
    predictions, masks, _ = drawn(1)
    metrics = segmentation_metrics(counted(predictions, masks), CLASSES, has_oracle=False)
    assert metrics["oracle"] is None and metrics["pixels"] == (masks < 255).sum()

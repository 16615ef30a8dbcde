"""Augmentations, read off images made for it: what is drawn, and that image and mask agree."""

import colorsys
import io
from collections.abc import Sequence
from typing import Any

import mindspore.dataset as ds
import numpy as np
import pytest
from PIL import Image

from train.config.sections import AugmentConfig
from train.data.transforms import evaluation_transforms, training_transforms

COUNT, SIDE, SIZE = 400, 96, 48
Y, X = np.mgrid[:SIDE, :SIDE]
# Red tells the brightness, green and blue how far right and down a pixel was.
VALUES = (0, 80, 170, 255)
RULER = np.stack([np.full((SIDE, SIDE), 100), 60 + 0.9 * X, 60 + 0.9 * Y], -1).astype(np.uint8)


class Rows:
    def __init__(self, rows: Sequence[tuple[Any, ...]]) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        return self.rows[index]


def apply(rows: Sequence[tuple[Any, ...]], **operators: Any) -> list[list[np.ndarray]]:
    ds.config.set_seed(7)
    pipeline = ds.GeneratorDataset(
        Rows(rows), list(operators), shuffle=False, num_parallel_workers=1
    )
    for column, chain in operators.items():
        pipeline = pipeline.map(chain, column, num_parallel_workers=1)
    return [list(row) for row in pipeline.create_tuple_iterator(num_epochs=1, output_numpy=True)]


def encoded(pixels: np.ndarray, form: str) -> np.ndarray:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, form, **({"quality": 100} if form == "JPEG" else {}))
    return np.frombuffer(buffer.getvalue(), np.uint8)


def readings(augment: AugmentConfig) -> dict[str, np.ndarray]:
    """What was done to each of many equal images."""
    rows = apply([(RULER,)] * COUNT, image=training_transforms(SIZE, augment, decoded=True))
    images = np.stack([row[0] for row in rows]).astype(float)
    brightness = images[..., 0].mean((1, 2)) / 100
    green, blue = (images[..., c] / brightness[:, None, None] for c in (1, 2))
    across = [(c[:, :, -4:] - c[:, :, :4]).mean((1, 2)) for c in (green, blue)]
    down = [(c[:, -4:] - c[:, :4]).mean((1, 2)) for c in (green, blue)]
    turned = np.abs(down[0]) > np.abs(across[0])
    return {
        "brightness": brightness,
        "turned": turned.astype(float),
        "left-right": np.sign(np.where(turned, across[1], across[0])),
        "up-down": np.sign(np.where(turned, down[0], down[1])),
        "width": np.abs(np.where(turned, down[0], across[0])),
        "height": np.abs(np.where(turned, across[1], down[1])),
        "right": green.mean((1, 2)),
        "down": blue.mean((1, 2)),
    }


def test_everything_is_drawn_independently() -> None:
    drawn = readings(AugmentConfig(contrast=0))
    independent = [name for name in drawn if name != "height"]  # tied to the width by the aspect
    correlation = np.corrcoef([drawn[name] for name in independent]) - np.eye(len(independent))
    assert np.abs(correlation).max() < 0.2, dict(zip(independent, correlation, strict=True))
    for name in ("turned", "left-right", "up-down"):
        assert 0.4 < (drawn[name] > 0).mean() < 0.6, name
    assert 0.79 < drawn["brightness"].min() < 0.83 and 1.17 < drawn["brightness"].max() < 1.21


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"flips": False, "quarter_turns": False}, 1),
        ({"quarter_turns": False}, 4),
        ({"flips": False}, 2),
        ({}, 8),
    ],
    ids=str,
)
def test_orientations(options: dict[str, Any], expected: int) -> None:
    augment = AugmentConfig(crop_area=None, brightness=0, contrast=0, **options)
    drawn = readings(augment)
    kinds = {*zip(drawn["turned"], drawn["left-right"], drawn["up-down"], strict=True)}
    assert len(kinds) == expected


@pytest.mark.parametrize("decoded", [False, True])
@pytest.mark.parametrize("crop_area", [None, (0.4, 1.0)], ids=str)
def test_image_and_mask_get_the_same_geometry(decoded: bool, crop_area: Any) -> None:
    """Where the mask says class k, the image shows the colour of class k, save at the edges."""
    rng = np.random.default_rng(0)
    rows = []
    for i in range(40):
        mask = np.kron(rng.choice(VALUES, (4, 5)), np.ones((20, 20))).astype(np.uint8)[: 60 + i % 9]
        image = np.repeat(mask[..., None], 3, -1)
        if decoded:
            rows.append((image, mask[..., None]))
        else:
            rows.append((encoded(image, "JPEG"), encoded(mask, "PNG")))
    augment = AugmentConfig(crop_area=crop_area, brightness=0, contrast=0.05, hue=0.1)
    changed = apply(
        rows,
        image=training_transforms(SIZE, augment, decoded),
        mask=training_transforms(SIZE, augment, decoded, of_masks=True),
    )
    for image, mask in changed:
        assert set(np.unique(mask)) <= set(VALUES)
        difference = np.abs(image[..., 0].astype(int) - mask[..., 0])
        assert (difference < 30).mean() > 0.85
    assert len({mask.tobytes() for _, mask in changed}) > 30


def test_evaluation_takes_the_centre() -> None:
    pixels = np.zeros((20, 40, 3), np.uint8)
    pixels[:, 10:30] = 200
    [[image]] = apply([(encoded(pixels, "PNG"),)], image=evaluation_transforms(20))
    assert image.shape == (20, 20, 3) and (image == 200).all()


def colours_of(images: np.ndarray) -> dict[str, np.ndarray]:
    """Brightness, contrast, saturation (all above 0) and hue (0 to 1) of images of two halves."""
    pixels = images.astype(float)[:, 0, [0, -1]]
    hues = [colorsys.rgb_to_hsv(*(image[0] / 255))[0] for image in pixels]
    return {
        "brightness": pixels.mean((1, 2)),
        "contrast": np.abs(pixels[:, 0] - pixels[:, 1]).mean(1),
        "saturation": np.ptp(pixels, axis=2).mean(1),
        "hue": np.array(hues),
    }


@pytest.mark.parametrize(
    ("name", "value"),
    [("brightness", 0.4), ("contrast", 0.4), ("saturation", 0.4), ("hue", 0.1), (None, 0.0)],
)
def test_a_colour_option_goes_as_far_both_ways_as_it_says(name: str | None, value: float) -> None:
    still = AugmentConfig(
        crop_area=None, flips=False, quarter_turns=False, brightness=0, contrast=0
    )
    augment = still.model_copy(update={name: value} if name else {})
    image = np.full((SIZE, SIZE, 3), (130, 90, 60), np.uint8)
    image[:, SIZE // 2 :] = 100, 70, 50
    operators = training_transforms(SIZE, augment, decoded=True)
    changed = np.stack([row[0] for row in apply([(image,)] * 80, image=operators)])
    if name is None:
        assert (changed == image).all()
        return
    [before] = colours_of(image[None])[name]
    after = colours_of(changed)[name]
    moved = (after - before + 0.5) % 1 - 0.5 if name == "hue" else after / before - 1
    assert -1.1 * value < moved.min() < -0.8 * value and 0.8 * value < moved.max() < 1.1 * value

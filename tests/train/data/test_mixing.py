"""MixUp and CutMix against a pixel-by-pixel account."""

from typing import Any

import numpy as np
import pytest

from train.config.sections import AugmentConfig
from train.data import mixing
from train.data.batch import DatasetPart

COUNT, SIZE = 6, 24
LABELS = np.arange(COUNT, dtype=np.int32)
# Every image has a value of its own everywhere: who gave which pixel can be read off.
IMAGES = np.broadcast_to(
    (LABELS * 40).astype(np.uint8)[:, None, None, None], (COUNT, SIZE, SIZE, 3)
).copy()
MASKS = (LABELS[:, None, None] + np.zeros((COUNT, SIZE, SIZE))).astype(np.uint8)


def mix(images: Any, labels: Any, masks: Any, augment: AugmentConfig, seed: Any) -> Any:
    return mixing.mix(DatasetPart(images, labels, masks), augment, seed)


def test_mixup_blends_by_the_shares() -> None:
    mixed = mix(IMAGES, LABELS, [], AugmentConfig(mixup=1.0), (7, 1))
    assert mixed.shares.dtype == np.float32 and mixed.images.dtype == np.uint8
    assert (mixed.partners != LABELS).all() and set(mixed.partners) == set(LABELS)
    for label, partner, share, image in zip(
        LABELS, mixed.partners, mixed.shares, mixed.images, strict=True
    ):
        expected = share * 40 * label + (1 - share) * 40 * partner
        assert np.abs(image - expected).max() <= 0.5 + 1e-3


def test_cutmix_pastes_one_rectangle_whose_area_is_what_the_label_loses() -> None:
    seen = []
    for step in range(20):
        mixed = mix(IMAGES, LABELS, [MASKS, MASKS + 9], AugmentConfig(cutmix=1.0), (7, step))
        np.testing.assert_array_equal(mixed.masks[1], mixed.masks[0] + 9)
        for label, partner, share, image, mask in zip(
            LABELS, mixed.partners, mixed.shares, mixed.images, mixed.masks[0], strict=True
        ):
            foreign = image[:, :, 0] == 40 * partner
            assert (foreign | (image[:, :, 0] == 40 * label)).all()
            assert share == pytest.approx(1 - foreign.mean(), abs=1e-6)
            np.testing.assert_array_equal(mask, np.where(foreign, partner, label))
            if foreign.any():
                rows, columns = foreign.any(1), foreign.any(0)
                assert foreign.sum() == rows.sum() * columns.sum()
                assert np.diff(np.flatnonzero(rows)).max(initial=1) == 1
                assert np.diff(np.flatnonzero(columns)).max(initial=1) == 1
            seen.append(share)
    assert min(seen) < 0.2 and max(seen) > 0.8


def test_probability_and_choice() -> None:
    both = AugmentConfig(mixup=1.0, cutmix=1.0, mix_probability=0.5)
    plain = blended = pasted = 0
    for step in range(300):
        mixed = mix(IMAGES, LABELS, [], both, (1, step))
        if (mixed.shares == 1).all():
            np.testing.assert_array_equal(mixed.images, IMAGES)
            np.testing.assert_array_equal(mixed.partners, LABELS)
            plain += 1
        elif np.isin(mixed.images, IMAGES).all():
            pasted += 1
        else:
            blended += 1
    assert 120 < plain < 180 and 50 < pasted < 100 and 50 < blended < 100


def test_each_way_of_mixing_has_its_own_distribution() -> None:
    """Beta(50, 50) is close to a half. Beta(0.02, 0.02) is 0 or 1, which pastes much or nothing."""
    both = AugmentConfig(mixup=50.0, cutmix=0.02)
    pasted: list[float] = []
    for step in range(40):
        mixed = mix(IMAGES, LABELS, [], both, (1, step))
        if np.isin(mixed.images, IMAGES).all():
            pasted += list(mixed.shares)
        else:
            assert (np.abs(mixed.shares - 0.5) < 0.3).all()
    # What is pasted around a corner still covers a quarter.
    assert np.mean([share == 1 or share < 0.76 for share in pasted]) > 0.9
    assert 0.3 < np.mean([share == 1 for share in pasted]) < 0.7


def test_random_numbers_depend_on_the_seed_alone() -> None:
    options = AugmentConfig(mixup=0.3)
    one, again, other = (
        mix(IMAGES, LABELS, [], options, seed).images for seed in ((3, 4), (3, 4), (3, 5))
    )
    np.testing.assert_array_equal(one, again)
    assert (one != other).any()


def test_an_image_alone_stays_as_it_is() -> None:
    mixed = mix(IMAGES[:1], LABELS[:1], [], AugmentConfig(mixup=1.0), (1, 1))
    np.testing.assert_array_equal(mixed.images, IMAGES[:1])
    assert mixed.shares.tolist() == [1.0]

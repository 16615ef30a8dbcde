"""From an encoded image to uint8 pixels of the size the network sees, in C++ operators."""

from typing import Any

from mindspore.dataset import transforms, vision

from train.config import AugmentConfig

Operators = list[Any]


def training_transforms(size: int, augment: AugmentConfig) -> Operators:
    """Decode, crop and augment: encoded bytes -> uint8 (size, size, 3), RGB."""
    operators = _crop(size, augment)
    if augment.flips:
        operators += [vision.RandomHorizontalFlip(0.5), vision.RandomVerticalFlip(0.5)]
    if augment.quarter_turns:
        operators.append(transforms.RandomApply([vision.Rotate(90)], 0.5))
    if augment.brightness or augment.contrast:
        operators.append(
            vision.RandomColorAdjust(_around_one(augment.brightness), _around_one(augment.contrast))
        )
    return operators


def evaluation_transforms(size: int) -> Operators:
    """Decode and resize the shorter side: encoded bytes -> uint8 (size, size, 3), the centre."""
    return [vision.Decode(), vision.Resize(size), vision.CenterCrop(size)]


def _crop(size: int, augment: AugmentConfig) -> Operators:
    if augment.crop_area is None:
        return evaluation_transforms(size)
    return [vision.RandomCropDecodeResize(size, augment.crop_area, augment.crop_aspect)]


def _around_one(spread: float) -> tuple[float, float]:
    return 1 - spread, 1 + spread

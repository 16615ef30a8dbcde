"""From encoded or decoded images to uint8 pixels of the size the network sees, in C++ operators.

The operators take their seeds from the configuration of ``mindspore.dataset`` when a pipeline is
started. Those that change the geometry draw the same numbers in the same order for an image and for
its mask, so both are changed alike although each goes through operators of its own.
"""

from typing import Any

from mindspore import dtype as mstype
from mindspore.dataset import transforms, vision
from mindspore.dataset.vision import Inter

from train.config.sections import AugmentConfig

Operators = list[Any]


def training_transforms(size: int, augment: AugmentConfig, decoded: bool = False) -> Operators:
    """Crop and augment.

    Args:
        size: Height and width of the result in pixels.
        augment: What is to be done.
        decoded: Whether the images come as uint8 (H, W, 3) instead of encoded.

    Returns:
        Operators to uint8 (size, size, 3), RGB.
    """
    operators = _crop(size, augment, decoded) + _turns(augment)
    if augment.brightness or augment.contrast or augment.saturation or augment.hue:
        operators.append(
            vision.RandomColorAdjust(
                _around_one(augment.brightness),
                _around_one(augment.contrast),
                _around_one(augment.saturation),
                (-augment.hue, augment.hue),
            )
        )
    return operators


def training_mask_transforms(size: int, augment: AugmentConfig, decoded: bool = False) -> Operators:
    """The geometry of :func:`training_transforms` for a mask: no value is ever blended.

    Returns:
        Operators to uint8 (size, size, 3), the mask three times.
    """
    if augment.crop_area is None:
        crop = evaluation_mask_transforms(size)[decoded:]
    else:
        crop = [] if decoded else [vision.Decode()]
        crop.append(
            vision.RandomResizedCrop(size, augment.crop_area, augment.crop_aspect, Inter.NEAREST)
        )
    return crop + _turns(augment)


def evaluation_transforms(size: int) -> Operators:
    """Decode and resize the shorter side: encoded bytes -> uint8 (size, size, 3), the centre."""
    return [vision.Decode(), vision.Resize(size), vision.CenterCrop(size)]


def evaluation_mask_transforms(size: int) -> Operators:
    """The geometry of :func:`evaluation_transforms` for a mask: no value is ever blended.

    Returns:
        Operators from encoded bytes to uint8 (size, size, 3), the mask three times.
    """
    return [vision.Decode(), vision.Resize(size, Inter.NEAREST), vision.CenterCrop(size)]


def _crop(size: int, augment: AugmentConfig, decoded: bool) -> Operators:
    if augment.crop_area is None:
        return evaluation_transforms(size)[decoded:]
    crop = vision.RandomResizedCrop if decoded else vision.RandomCropDecodeResize
    return [crop(size, augment.crop_area, augment.crop_aspect)]


def _turns(augment: AugmentConfig) -> Operators:
    """One of up to eight orientations, drawn at once.

    All random operators of a pipeline start from one seed. Two that draw as many numbers per image
    would therefore always decide alike: left-right and up-down flips of their own would come
    together or not at all.
    """
    choices: list[Operators] = [[]]
    if augment.flips:
        left_right, up_down = vision.HorizontalFlip(), vision.VerticalFlip()
        choices = [[], [left_right], [up_down], [left_right, up_down]]
    if augment.quarter_turns:
        choices += [[vision.Rotate(90), *flips] for flips in choices]
    if len(choices) == 1:
        return []
    unchanged = transforms.TypeCast(mstype.uint8)
    return [transforms.RandomChoice([transforms.Compose([unchanged, *c]) for c in choices])]


def _around_one(spread: float) -> tuple[float, float]:
    return 1 - spread, 1 + spread

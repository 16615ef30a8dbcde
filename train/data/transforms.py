"""From encoded or decoded images to uint8 pixels of the size the network sees, in C++ operators.

The operators take their seeds from the configuration of ``mindspore.dataset`` when a pipeline is
started. Those that change the geometry draw the same numbers in the same order for an image and for
its mask, so both are changed alike although each goes through operators of its own.
"""

from mindspore import dtype as mstype
from mindspore.dataset import transforms, vision
from mindspore.dataset.vision import Inter

from train.config.sections import AugmentConfig
from train.data.pipeline import Operators


def training_transforms(
    size: int, augment: AugmentConfig, decoded: bool = False, of_masks: bool = False
) -> Operators:
    """Return the operators that crop and augment.

    Args:
        size: Height and width of the result in pixels.
        augment: What is to be done.
        decoded: Whether the images come as uint8 (H, W, 3) instead of encoded.
        of_masks: Whether they are for masks: no colours change, and no value is ever blended.

    Returns:
        Operators to uint8 (size, size, 3): RGB, or the mask three times.
    """
    interpolation = Inter.NEAREST if of_masks else Inter.LINEAR
    operators = _crop(size, augment, decoded, interpolation) + _turns(augment)
    colours = augment.brightness or augment.contrast or augment.saturation or augment.hue
    if colours and not of_masks:
        operators.append(
            vision.RandomColorAdjust(
                _around_one(augment.brightness),
                _around_one(augment.contrast),
                _around_one(augment.saturation),
                (-augment.hue, augment.hue),
            )
        )
    return operators


def evaluation_transforms(size: int, interpolation: Inter = Inter.LINEAR) -> Operators:
    """Return the operators from encoded bytes to uint8 (size, size, 3), the centre.

    For a mask the interpolation is ``Inter.NEAREST``: no value is ever blended.
    """
    resize = vision.Resize(size, interpolation)
    return [vision.Decode(), resize, vision.CenterCrop(size)]


def _crop(size: int, augment: AugmentConfig, decoded: bool, interpolation: Inter) -> Operators:
    if augment.crop_area is None:
        return evaluation_transforms(size, interpolation)[decoded:]
    crop = vision.RandomResizedCrop if decoded else vision.RandomCropDecodeResize
    return [crop(size, augment.crop_area, augment.crop_aspect, interpolation)]


def _turns(augment: AugmentConfig) -> Operators:
    """Return what draws one of up to eight orientations at once.

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

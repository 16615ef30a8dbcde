"""MixUp and CutMix: images of a data set are mixed with each other, within one rank's batch.

n = images of the data set in this rank's part of the mixed batch, M = masks per image.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from train.config.sections import AugmentConfig
from train.data.batch import Array, DatasetPart


def mix(part: DatasetPart, augment: AugmentConfig, seed: Sequence[int]) -> DatasetPart:
    """Mix the images of a data set with each other, or leave them as they are.

    Args:
        part: Its images, labels and masks. CutMix moves the masks along; MixUp has no meaning for
            them.
        augment: What is to be done.
        seed: What the random numbers depend on.

    Returns:
        The part with partners and shares: an image's own label counts as much as its share, its
        partner's label the rest.
    """
    images, labels, masks = part.images, part.labels, part.masks
    count = len(labels)
    unmixed = replace(part, partners=labels, shares=np.ones(count, np.float32))
    if not augment.mixes or count < 2:
        return unmixed
    random = np.random.default_rng(list(seed))
    if random.random() >= augment.mix_probability:
        return unmixed
    # A rotation by 1..n-1 places gives nobody itself.
    partners = np.roll(np.arange(count), int(random.integers(1, count)))
    use_cutmix = augment.cutmix > 0 and (augment.mixup == 0 or random.random() < 0.5)
    alpha = augment.cutmix if use_cutmix else augment.mixup
    shares = random.beta(alpha, alpha, count)
    if use_cutmix:
        boxes, shares = _boxes(shares, images.shape[1], images.shape[2], random)
        images, *masks = [_paste(array, partners, boxes) for array in (images, *masks)]
    else:
        images = _blend(images, partners, shares)
    return DatasetPart(images, labels, masks, labels[partners], shares.astype(np.float32))


def _blend(images: Array, partners: Array, shares: Array) -> Array:
    weights = shares.astype(np.float32)[:, None, None, None]
    blended = weights * images + (1 - weights) * images[partners]
    result: Array = np.rint(blended).astype(np.uint8)
    return result


def _boxes(
    shares: Array, height: int, width: int, random: np.random.Generator
) -> tuple[Array, Array]:
    """Return rectangles (n, 4): top, bottom, left, right; and what they leave of each image.

    The centre is drawn anywhere and the rectangle cut off at the border, as in the paper: so what
    it leaves is counted afterwards.
    """
    sides = np.sqrt(1 - shares)
    box = np.empty((len(shares), 4), np.int64)
    for column, length in ((0, height), (2, width)):
        centre = random.integers(0, length, len(shares))
        half = np.rint(sides * length / 2).astype(np.int64)
        box[:, column] = np.clip(centre - half, 0, length)
        box[:, column + 1] = np.clip(centre + half, 0, length)
    areas = (box[:, 1] - box[:, 0]) * (box[:, 3] - box[:, 2])
    return box, 1 - areas / (height * width)


def _paste(array: Array, partners: Array, boxes: Array) -> Array:
    result = array.copy()
    for i, (top, bottom, left, right) in enumerate(boxes):
        result[i, top:bottom, left:right] = array[partners[i], top:bottom, left:right]
    return result

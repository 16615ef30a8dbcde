"""A picture as the network sees it: the square in its middle, and squares that cover the rest.

An evaluation looks at the square in the middle alone, and so does every scene task here. A mask has
to cover the whole picture: squares of the same size, each half over the next or more, are laid
along its longer side, the one in the middle among them, and their probabilities are blended where
they overlap. So a square picture is seen once, as in an evaluation, and no other shape of the
network is needed.

Shapes: S = side of a square, H, W = height and width of the picture whose shorter side is S, K =
classes.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]


def offsets(long: int, size: int, whole: bool) -> list[int]:
    """Return where the squares begin along the longer side; the first is that in the middle.

    Args:
        long: The longer side of the picture, whose shorter one is ``size``.
        size: Side of a square.
        whole: Whether they cover the picture; else there is one.
    """
    middle = (long - size) // 2
    if not whole or long == size:
        return [middle]
    steps = -(-2 * (long - size - middle) // size)
    before = [middle * i // steps for i in range(steps)]
    after = [middle + (long - size - middle) * i // steps for i in range(1, steps + 1)]
    return [middle, *dict.fromkeys(o for o in (*before, *after) if o != middle)]


def square(pixels: npt.NDArray[Any], offset: int, size: int) -> npt.NDArray[Any]:
    """Return the square that begins at an offset of the longer side, of (H, W, ...)."""
    height, width = pixels.shape[:2]
    if width >= height:
        return pixels[:, offset : offset + size]
    return pixels[offset : offset + size]


def blended(parts: Sequence[Floats], begins: Sequence[int], shape: tuple[int, int]) -> Floats:
    """Blend the probabilities (K, S, S) of squares to (K, H, W); ``shape`` is (H, W).

    A square weighs most in its middle and little at its ends, so that no seam shows.
    """
    if len(parts) == 1:
        return parts[0]
    size = min(shape)
    along = 2 if shape[1] >= shape[0] else 1
    ramp = np.minimum(np.arange(1, size + 1), np.arange(size, 0, -1)).astype(np.float32)
    weights = ramp.reshape([-1 if axis == along else 1 for axis in range(3)])
    total = np.zeros((len(parts[0]), *shape), np.float32)
    sums = np.zeros(max(shape), np.float32)
    for part, begin in sorted(zip(parts, begins, strict=True), key=lambda pair: pair[1]):
        place = [slice(None)] * 3
        place[along] = slice(begin, begin + size)
        total[tuple(place)] += part * weights
        sums[begin : begin + size] += ramp
    total /= sums.reshape([-1 if axis == along else 1 for axis in range(3)])
    return total


def most_likely(probabilities: Floats, size: tuple[int, int]) -> Pixels:
    """Return the most likely class of every pixel at another size, bilinearly: (K, H, W) -> mask.

    Class by class, so that it takes nine bytes a pixel however many classes there are.

    Args:
        probabilities: They belong to the whole picture.
        size: Width and height of the mask.
    """
    best = np.full(size[::-1], -1, np.float32)
    mask = np.zeros(size[::-1], np.uint8)
    for number, values in enumerate(probabilities):
        resized = np.asarray(Image.fromarray(values).resize(size, Image.Resampling.BILINEAR))
        better = resized > best
        best[better] = resized[better]
        mask[better] = number
    return mask

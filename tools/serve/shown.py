"""What the page shows of an answer: bars, the mask over the picture, attention as heat maps.

Shapes: H, W = of an attention map.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from tools.common.data_uri import data_uri
from tools.common.heat_map import heated
from tools.describe.mask_colours import Colour
from tools.predict.legend import hexadecimal
from tools.predict.windows import Pixels
from train.tasks.base import Task

Shown = Mapping[str, Any]

# Longest side of the pictures of the page, in pixels.
LONGEST = 480
# Side of an attention map.
_SIDE = 240
# Classes that are shown of a task.
_CLASSES = 5
_OPACITY = 0.5


def whole(picture: Image.Image) -> str:
    """Return the picture itself, for browsers that do not show such files."""
    return data_uri(np.asarray(picture))


def card(
    task: Task,
    told: Mapping[str, Any],
    picture: Image.Image,
    attention: Sequence[npt.NDArray[np.float32]],
    mask: Pixels | None,
    colours: Sequence[Colour],
) -> Shown:
    """Return what is shown of a task.

    Args:
        task: The task.
        told: What the tables tell of it.
        picture: Upright RGB, small.
        attention: Of every level, (H, W) in 0..1, over the square in the middle of the picture.
        mask: Of a segmentation task: the class of each pixel, of the picture as it came.
        colours: Of every class.
    """
    shares: Mapping[str, float] = told.get("probabilities") or told["shares"]
    bars = sorted(shares.items(), key=lambda pair: -pair[1])[:_CLASSES]
    middle = np.asarray(ImageOps.fit(picture, (_SIDE, _SIDE)))
    maps = [_heat(middle, level) for level in attention]
    shown = {"task": task.name, "bars": bars, "more": len(shares) - len(bars), "attention": maps}
    if mask is not None:
        shown["overlay"] = _covered(picture, mask, colours)
        named = zip(task.classes, colours, strict=True)
        shown["legend"] = [[name, hexadecimal(colour)] for name, colour in named]
    return shown


def _heat(picture: Pixels, level: npt.NDArray[np.float32]) -> Shown:
    """Return a map in colours from its least to its most, with both: it may differ by little."""
    low, high = float(level.min()), float(level.max())
    uri = data_uri(heated(picture, level, low, high))
    return {"picture": uri, "size": list(level.shape), "low": round(low, 4), "high": round(high, 4)}


def _covered(picture: Image.Image, mask: Pixels, colours: Sequence[Colour]) -> str:
    small = Image.fromarray(mask).resize(picture.size, Image.Resampling.NEAREST)
    small.putpalette([value for colour in colours for value in colour])
    return data_uri(np.asarray(Image.blend(picture, small.convert("RGB"), _OPACITY)))

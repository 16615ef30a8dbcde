"""Maps of numbers as colours over a picture: where the tasks of a network look.

Shapes: H, W = of a map, S = side of the picture.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

Pixels = npt.NDArray[np.uint8]

_COLOURS = "inferno"
# How strongly colours cover the picture below them.
_HEAT = 0.6


def heated(picture: Pixels, values: npt.NDArray[np.generic], low: float, high: float) -> Pixels:
    """Return a picture, in grey, below a map in colours.

    Args:
        picture: (S, S, 3).
        values: (H, W).
        low: What is darkest.
        high: What is brightest.
    """
    share = np.clip((resized(values, len(picture)) - low) / ((high - low) or 1), 0, 1)
    grey = picture.mean(-1, keepdims=True)
    return np.asarray((1 - _HEAT) * grey + _HEAT * _colours(share), np.uint8)


def resized(values: npt.NDArray[np.generic], side: int) -> npt.NDArray[np.float32]:
    """Return a map (H, W) of numbers as (side, side), smoothly."""
    image = Image.fromarray(np.asarray(values, np.float32))
    return np.asarray(image.resize((side, side), Image.Resampling.BICUBIC))


def scale(steps: int = 6) -> list[str]:
    """Return the colours from the least to the most, as a style sheet writes them."""
    colours = np.round(_colours(np.linspace(0, 1, steps))).astype(int)
    return [f"#{red:02x}{green:02x}{blue:02x}" for red, green, blue in colours]


def _colours(share: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Return the colours, 0..255, of numbers in 0..1."""
    import matplotlib

    return np.asarray(matplotlib.colormaps[_COLOURS](share)[..., :3] * 255)

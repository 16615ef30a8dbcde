"""Pictures of more than 8 bits a value: their values, their range, and how they become 8 bits."""

import io
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from tools.prepare.recipe import DoesNotFit, Notes, Recipe

Spread = tuple[float, float]

_HIGHEST = 65535
# What uses less of 0..65535 than this comes out nearly black.
_DARK = 0.25
# Of the values of a picture, so many are enough to tell its range.
_SAMPLED = 4096


def to_8_bits(values: npt.NDArray[Any], recipe: Recipe, notes: Notes) -> npt.NDArray[np.uint8]:
    """Scale values of more than 8 bits; others stay as they are.

    Raises:
        ValueError: They have no fixed range, and none is given.
    """
    if values.dtype == np.uint8:
        return values
    notes.spread = spread_of(values)
    if recipe.range is not None:
        low, high = recipe.range
        scaled = (values.astype(np.float32) - low) * np.float32(255 / (high - low))
        # What is no number is no data.
        return (np.nan_to_num(scaled, nan=0.0).clip(0, 255) + 0.5).astype(np.uint8)
    if values.dtype.kind == "f":
        raise DoesNotFit("floating-point pixels have no fixed range", _advice(notes))
    if values.min() < 0 or values.max() > _HIGHEST:
        raise DoesNotFit("integer pixels outside 0..65535", _advice(notes))
    return ((values.astype(np.int64) * 255 + _HIGHEST // 2) // _HIGHEST).astype(np.uint8)


def is_nearly_black(highest: float) -> bool:
    """Return whether values up to this, of 16 bits, are hardly seen once they have 8."""
    return highest < _DARK * _HIGHEST


def range_advice(low: float, high: float) -> str:
    """Return the option that shows values which are nearly black, and what it does."""
    return f"--range {int(low)},{max(int(high), int(low) + 1)} makes that 0..255"


def spread_of(values: npt.NDArray[Any]) -> Spread:
    """Return the 1st and the 99th percentile of some values, of those that are numbers."""
    flat = values.ravel()
    flat = flat[:: max(1, len(flat) // _SAMPLED)].astype(np.float64)
    flat = flat[np.isfinite(flat)]
    low, high = np.percentile(flat, (1, 99)) if len(flat) else (0.0, 0.0)
    return float(low), float(high)


def _advice(notes: Notes) -> str:
    low, high = notes.spread or (0, 1)
    return f": scale them to 8 bits first, or with --range {low:.4g},{high:.4g}, about what it uses"


def is_deep_colour(image: Image.Image) -> bool:
    """Return whether it has colours of 16 bits, which open as of 8, the lower 8 bits dropped."""
    return image.mode in ("RGB", "RGBA") and ";16" in str(getattr(image, "tile", ""))


def deep_colours(data: bytes, image: Image.Image) -> npt.NDArray[np.uint16]:
    """Return the values of a PNG with colours of 16 bits, of which Pillow gives the upper 8."""
    if image.format != "PNG":
        raise ValueError("16-bit colour that cannot be scaled by --range: convert it to PNG")
    with Image.open(io.BytesIO(data)) as other:
        # Read as if the bytes of each value were in the other order, its upper ones are the lower.
        other.tile = [t._replace(args=str(t.args).replace("16B", "16L")) for t in other.tile]
        lower = np.asarray(other)
    values: npt.NDArray[np.uint16] = np.asarray(image).astype(np.uint16) << 8 | lower
    return values

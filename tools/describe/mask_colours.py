"""Colours for the classes of masks: the user's own, or else the usual ones, easy to tell apart."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from train.data.manifest import MaskSpace

Colour = tuple[int, int, int]

# Of pixels that have no class.
NO_CLASS: Colour = (38, 38, 42)
_PAPER: Colour = (252, 252, 250)
# The same beside colours of the user's own that are too near.
_WITHOUT = (NO_CLASS, (128, 128, 130), (226, 226, 222))

# A word in a class's name, and the colour that maps give it.
_USUAL = (
    (("water", "river", "lake", "sea", "pond", "ocean"), (40, 110, 220)),
    (("forest", "wood", "tree"), (28, 120, 58)),
    (("meadow", "grass", "pasture"), (150, 215, 90)),
    (("farm", "crop", "agri", "field", "paddy", "irrigated"), (245, 210, 70)),
    (("built", "urban", "residential", "building", "town"), (215, 50, 45)),
    (("industr", "commercial"), (150, 70, 160)),
    (("road", "traffic", "highway", "railway"), (130, 130, 135)),
    (("bare", "sand", "desert", "beach", "soil"), (215, 175, 130)),
)
# Distance in CIELAB from which on two colours are told apart at a glance.
_APART = 22.0


class Colours(NamedTuple):
    """The colours of the classes, and that of pixels without one."""

    classes: list[Colour]
    no_class: Colour


def colours_of(space: MaskSpace) -> Colours:
    """Return the colours of a label space: those of the user's masks, if they had any."""
    if not space.colours:
        return Colours(palette(space.classes), NO_CLASS)
    codes = [int(colour[1:], 16) for colour in space.colours]
    classes = [(code >> 16, code >> 8 & 255, code & 255) for code in codes]
    taken = _lab(np.array(classes))
    apart = [np.linalg.norm(taken - _lab(np.array(c)), axis=1).min() for c in _WITHOUT]
    free = [c for c, distance in zip(_WITHOUT, apart, strict=True) if distance >= _APART]
    return Colours(classes, free[0] if free else NO_CLASS)


def palette(classes: Sequence[str]) -> list[Colour]:
    """Choose a colour for every class.

    A class whose name tells has its usual colour, or a darker or lighter one if earlier classes
    took that; every other gets, in turn, the colour that is farthest from all that are taken.
    """
    taken = [_lab(np.array(colour)) for colour in (NO_CLASS, _PAPER)]
    colours: list[Colour | None] = []
    for name in classes:
        colours.append(None)
        for shade in _usual(name):
            own = _lab(np.array(shade))
            if all(np.linalg.norm(own - other) >= _APART for other in taken):
                taken.append(own)
                colours[-1] = shade
                break
    grid = np.stack(np.meshgrid(*[np.linspace(20, 240, 11)] * 3), axis=-1).reshape(-1, 3)
    candidates = _lab(grid)
    nearest = np.min([np.linalg.norm(candidates - other, axis=1) for other in taken], axis=0)
    for place, colour in enumerate(colours):
        if colour is None:
            best = int(np.argmax(nearest))
            red, green, blue = (round(value) for value in grid[best])
            colours[place] = (red, green, blue)
            distances = np.linalg.norm(candidates - candidates[best], axis=1)
            nearest = np.minimum(nearest, distances)
    return [colour for colour in colours if colour is not None]


def paint(mask: npt.NDArray[np.uint8], colours: Colours) -> npt.NDArray[np.uint8]:
    """Paint a mask of shape (H, W) in its colours, (H, W, 3)."""
    table = np.full((256, 3), colours.no_class, np.uint8)
    table[: len(colours.classes)] = np.array(colours.classes, np.uint8)
    return table[mask]


def _usual(name: str) -> list[Colour]:
    """Return the colour that maps give to a class, and a darker and a lighter shade of it."""
    text = name.casefold()
    for words, (red, green, blue) in _USUAL:
        if any(word in text for word in words):
            dark = red * 11 // 20, green * 11 // 20, blue * 11 // 20
            light = (red + 255) // 2, (green + 255) // 2, (blue + 255) // 2
            return [(red, green, blue), dark, light]
    return []


def _lab(rgb: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Convert sRGB values 0..255, shape (..., 3), to CIELAB under daylight (D65)."""
    linear = rgb / 255.0
    linear = np.where(linear <= 0.04045, linear / 12.92, ((linear + 0.055) / 1.055) ** 2.4)
    to_xyz = np.array(
        [
            [0.4124564, 0.3575761, 0.1804375],
            [0.2126729, 0.7151522, 0.0721750],
            [0.0193339, 0.1191920, 0.9503041],
        ]
    )
    xyz = linear @ to_xyz.T / np.array([0.95047, 1.0, 1.08883])
    f = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    lightness = 116 * f[..., 1] - 16
    return np.stack(
        [lightness, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], axis=-1
    )

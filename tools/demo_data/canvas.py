"""A canvas to draw overhead views on: noise, soft shapes with shadows, light and sensor."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from tools.demo_data.palettes import TREE, Palette

Array = npt.NDArray[Any]
# Takes coordinates and gives how much of each point it covers, 0..1.
Shape = Callable[[Array, Array], Array]

_SUPERSAMPLING = 2


class Canvas:
    """A square picture in the making.

    Coordinates run from -1 to 1 on both axes, at every size.

    Attributes:
        rng: Source of everything random in the picture.
        x: Horizontal coordinates, (n, n).
        y: Vertical coordinates, (n, n).
        pixel: Size of a pixel of the finished picture, in coordinates.
        rgb: Colours on the scale 0..255, (n, n, 3), not yet clipped.
    """

    def __init__(self, rng: np.random.Generator, size: int) -> None:
        """Begin with an empty picture that will be ``size`` pixels high and wide."""
        n = size * _SUPERSAMPLING
        axis = (np.arange(n, dtype=np.float32) + 0.5) * (2 / n) - 1
        self.rng = rng
        self.size = size
        self.pixel = 2 / size
        self.x, self.y = np.meshgrid(axis, axis)
        self.rgb = np.zeros((n, n, 3), np.float32)
        angle = rng.uniform(0, 2 * np.pi)
        self._sun = float(np.cos(angle)), float(np.sin(angle))

    def uniform(self, low: float, high: float) -> float:
        """Return a random number."""
        return float(self.rng.uniform(low, high))

    def chance(self, probability: float) -> bool:
        """Return whether something that has this probability happens."""
        return bool(self.rng.random() < probability)

    def number(self, low: int, end: int) -> int:
        """Return a random whole number from ``low`` to ``end - 1``."""
        return int(self.rng.integers(low, end))

    def choose(self, *palettes: Palette) -> Palette:
        """Return one of some palettes."""
        return palettes[self.number(0, len(palettes))]

    def table(self, values: int) -> Array:
        """Return random numbers 0..1, ``values`` for every cell of a grid: (64, 64, values)."""
        return self.rng.random((64, 64, values)).astype(np.float32)

    def colour(self, palette: Palette, jitter: float = 10) -> Array:
        """Mix two of a palette's colours at random, (3,)."""
        one, other = self.rng.integers(0, len(palette), 2)
        share = self.rng.random()
        mixed = np.multiply(palette[one], share) + np.multiply(palette[other], 1 - share)
        # Mostly lighter or darker: real surfaces differ less in hue.
        mixed += self.rng.normal(0, jitter) + self.rng.normal(0, jitter / 5, 3)
        return np.asarray(mixed, np.float32)

    def tones(self, share: Array, count: int, palette: Palette) -> Array:
        """Return one of ``count`` colours of a palette for every point, told by numbers 0..1."""
        colours = np.stack([self.colour(palette) for _ in range(count)])
        return np.asarray(colours[(share * (count - 0.01)).astype(np.int32)])

    def frame(self, angle: float | None = None, offset: float = 1.0) -> tuple[Array, Array]:
        """Return coordinates turned by an angle (None: at random) and shifted at random."""
        angle = self.uniform(0, np.pi) if angle is None else angle
        cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
        du, dv = self.rng.uniform(-offset, offset, 2).astype(np.float32)
        return self.x * cos + self.y * sin + du, self.y * cos - self.x * sin + dv

    def noise(self, scale: float, octaves: int = 3) -> Array:
        """Return smooth noise of mean 0, deviation 1, (n, n); its features are ``scale`` wide."""
        n = len(self.x)
        total = np.zeros((n, n), np.float32)
        for octave in range(octaves):
            cells = min(n, max(2, round(2 / scale * 2**octave)) + 2)
            coarse = self.rng.normal(size=(cells, cells)).astype(np.float32)
            fine = Image.fromarray(coarse).resize((n, n), Image.Resampling.BICUBIC)
            total += np.asarray(fine) * np.float32(0.55**octave)
        return np.asarray((total - total.mean()) / (total.std() + 1e-6), np.float32)

    def soft(self, distance: Array, width: float = 1.0) -> Array:
        """Return 1 where a signed distance is negative, else 0; the edge takes ``width`` pixels."""
        return np.clip(0.5 - distance / (self.pixel * width), 0, 1)

    def ground(self, palette: Palette, scale: float = 0.5, contrast: float = 0.1) -> None:
        """Cover everything with two mottled tones of a palette."""
        share = np.clip(self.noise(scale) * 0.35 + 0.5, 0, 1)[..., None]
        self.rgb = self.colour(palette) * share + self.colour(palette) * (1 - share)
        self.texture(contrast, 0.12)

    def texture(self, amount: float, scale: float) -> None:
        """Make everything drawn so far lighter and darker at random."""
        self.rgb *= 1 + np.float32(amount) * self.noise(scale, 2)[..., None]

    def paint(self, cover: Array, colour: Array) -> None:
        """Lay a colour, (3,) or (n, n, 3), over what ``cover`` covers."""
        self.rgb += (colour - self.rgb) * cover[..., None]

    def band(self, distance: Array, half_width: float, colour: Array) -> None:
        """Lay a band of a colour over the line where ``distance`` is 0."""
        self.paint(self.soft(np.abs(distance) - half_width), colour)

    def darken(self, cover: Array, amount: float) -> None:
        """Take light away, as a shadow does."""
        self.rgb *= 1 - np.float32(amount) * cover[..., None]

    def stamp(self, shape: Shape, colour: Array, height: float) -> Array:
        """Draw raised objects with their shadow; return what they cover."""
        dx, dy = self._sun[0] * height, self._sun[1] * height
        cover = shape(self.x, self.y)
        self.darken(np.maximum(shape(self.x - dx, self.y - dy), cover), 0.55)
        self.paint(cover, colour)
        return cover

    def trees(self, count: int, radius: tuple[float, float], where: Array | None = None) -> None:
        """Scatter round crowns with shadows, more of them where ``where`` is large."""
        spots = self.rng.uniform(-1.05, 1.05, (count, 2)).astype(np.float32)
        n = len(self.x)
        for cx, cy in spots:
            r = self.uniform(*radius)
            if where is not None:
                row, column = (int(np.clip((v + 1) / 2 * n, 0, n - 1)) for v in (cy, cx))
                if where[row, column] < 0.5:
                    continue
            self._crown(float(cx), float(cy), r)

    def _crown(self, cx: float, cy: float, r: float) -> None:
        # Only the crown's surroundings are touched: dozens of whole-picture passes would be slow.
        n, reach = len(self.x), 2.2 * r
        ends = [[max(0, int((v + d + 1) / 2 * n)) for d in (-reach, reach)] for v in (cy, cx)]
        here = slice(*ends[0]), slice(*ends[1])
        x, y, area = self.x[here] - cx, self.y[here] - cy, self.rgb[here]
        dx, dy = self._sun[0] * r, self._sun[1] * r
        area *= 1 - 0.5 * self.soft(np.hypot(x - dx * 0.9, y - dy * 0.9) - r)[..., None]
        lit = 1 - 0.28 * np.clip((x * dx + y * dy) / (r * r), -1, 1)
        cover = self.soft(np.hypot(x, y) - r)[..., None]
        area += (self.colour(TREE) * lit[..., None] - area) * cover

    def finish(self) -> npt.NDArray[np.uint8]:
        """Add weather, light, colour cast and sensor noise; return (size, size, 3) pixels."""
        if self.chance(0.1):
            self._clouds()
        u, _ = self.frame(offset=0.0)
        self.rgb *= (1 + np.float32(self.uniform(0, 0.1)) * u)[..., None]
        haze = self.uniform(0, 0.22)
        self.rgb += (np.array([196, 204, 214], np.float32) - self.rgb) * np.float32(haze)
        gains = self.uniform(0.78, 1.2) * self.rng.normal(1, 0.025, 3)
        self.rgb *= gains.astype(np.float32)
        k = _SUPERSAMPLING
        parts = [self.rgb[row::k, column::k] for row in range(k) for column in range(k)]
        small = np.sum(parts, axis=0) / np.float32(k * k)
        small += self.rng.normal(0, self.uniform(1.5, 6), small.shape)
        pixels: npt.NDArray[np.uint8] = np.clip(small, 0, 255).astype(np.uint8)
        return pixels

    def _clouds(self) -> None:
        cloud = np.clip(self.noise(1.8, 4) * 0.6 - self.uniform(0.35, 0.8), 0, 1)
        shift = round(len(self.x) * 0.12)
        shadow = np.roll(cloud, (round(shift * self._sun[1]), round(shift * self._sun[0])), (0, 1))
        self.darken(shadow, 0.5)
        self.paint(cloud * 0.85, np.array([238, 240, 243], np.float32))


def cells(u: Array, v: Array, width: float, height: float) -> tuple[Array, Array, Array, Array]:
    """Divide the plane into a grid.

    Returns:
        Column and row of each point's cell, whole numbers from 0 to 63, and its position in the
        cell from the centre, in coordinates.
    """
    column, row = np.floor(u / width), np.floor(v / height)
    local_u = u - (column + 0.5) * width
    local_v = v - (row + 0.5) * height
    return column.astype(np.int32) & 63, row.astype(np.int32) & 63, local_u, local_v


def box(u: Array, v: Array, half_width: Array | float, half_height: Array | float) -> Array:
    """Return the signed distance to a rectangle around the origin."""
    return np.maximum(np.abs(u) - half_width, np.abs(v) - half_height)


def waves(across: Array, period: float) -> Array:
    """Go from 1 to 0 and back once in every ``period``."""
    return np.asarray(0.5 + 0.5 * np.cos(across * (2 * np.pi / period)))

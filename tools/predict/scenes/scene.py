"""One scene: what it is, and its pixels as the network sees them.

Pixels become 8-bit RGB as tools/prepare makes them of pictures. A pixel is nodata where an alpha
band or a mask, in the file or beside it, says so; where all three bands have the nodata value; and
where one of them is no finite number. The network sees such pixels black.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tools.predict.scenes.gdal import UnreadableScene, rasterio, readable
from tools.prepare.bands import counted_bands
from tools.prepare.deep_values import Spread, spread_of, to_8_bits
from tools.prepare.recipe import Notes, Recipe

Pixels = npt.NDArray[np.uint8]
Valid = npt.NDArray[np.bool_]

# What is tried out: windows of so many pixels, in the middle and, where that has no valid pixel,
# between it and the corners.
_TRIED = 256
_PLACES = ((0.5, 0.5), (0.25, 0.25), (0.75, 0.25), (0.25, 0.75), (0.75, 0.75))


@dataclass(frozen=True)
class Place:
    """Where on Earth a scene is, as far as its file says.

    Attributes:
        crs: Coordinate reference system as WKT; None: not known.
        transform: Six numbers from pixels to coordinates, in GDAL's order; None: none.
        gcps: Ground control points, (column, row, x, y, z) each.
        rpcs: Rational polynomial coefficients by GDAL's names.
        area_or_point: What a pixel's coordinates mean, by GDAL's tag.
    """

    crs: str | None
    transform: tuple[float, ...] | None
    gcps: tuple[tuple[float, ...], ...] = ()
    rpcs: tuple[tuple[str, str], ...] = ()
    area_or_point: str = "Area"


@dataclass(frozen=True)
class Scene:
    """A scene; its bands are chosen.

    Attributes:
        path: The file.
        name: What the user calls it.
        width, height: Its size in pixels.
        recipe: How its values become 8-bit RGB; its bands are known.
        place: Where it is.
    """

    path: Path
    name: str
    width: int
    height: int
    recipe: Recipe
    place: Place

    @classmethod
    def of(cls, path: Path, name: str, recipe: Recipe, chosen: bool) -> Scene:
        """Look at a file.

        Args:
            path: The file.
            name: What the user calls it.
            recipe: How pictures became 8-bit RGB; without bands, the scene has to have three.
            chosen: Whether it is the user who has chosen the bands, and not the data set.

        Raises:
            UnreadableScene: It cannot be read, or has not the bands asked for.
            UserError: rasterio is not installed.
        """
        with _opened(path, name) as file:
            bands = _bands(file, name, recipe, chosen)
            full = Recipe(recipe.format, recipe.quality, None, bands, recipe.range)
            return cls(path, name, file.width, file.height, full, _place(file))

    @contextmanager
    def opened(self) -> Iterator[OpenScene]:
        """Open it for reading, by one thread at a time.

        Raises:
            UnreadableScene: It cannot be read, now or later.
        """
        with _opened(self.path, self.name) as file:
            yield OpenScene(self, file)

    def try_out(self) -> Spread | None:
        """Read some pixels, of its middle if they are valid.

        Returns:
            What range of their own their values use, if they have more than 8 bits and no range is
            given.

        Raises:
            UnreadableScene: They cannot be read, or have no fixed range.
        """
        width, height = min(_TRIED, self.width), min(_TRIED, self.height)
        with self.opened() as scene:
            for across, down in _PLACES:
                x, y = int((self.width - width) * across), int((self.height - height) * down)
                values, valid = scene.values(x, y, width, height)
                if valid.any():
                    break
            scene.to_8_bits(values)
        is_deep = values.dtype != np.uint8 and self.recipe.range is None
        return spread_of(values[valid]) if is_deep else None


@dataclass(frozen=True)
class OpenScene:
    """A scene whose pixels can be read."""

    scene: Scene
    file: Any

    def read(self, x: int, y: int, width: int, height: int) -> tuple[Pixels, Valid]:
        """Read some pixels: RGB (height, width, 3), and which are valid (height, width).

        Raises:
            UnreadableScene: They cannot be read, or have no fixed range.
        """
        values, valid = self.values(x, y, width, height)
        pixels = self.to_8_bits(values)
        if pixels.dtype != values.dtype:
            pixels[~valid] = 0
        return pixels, valid

    def values(self, x: int, y: int, width: int, height: int) -> tuple[npt.NDArray[Any], Valid]:
        """Read the file's own values of some pixels, 0 where they are not valid."""
        bands = list(self.scene.recipe.bands or ())
        window = rasterio().windows.Window(x, y, width, height)
        with readable(self.scene.path, self.scene.name, pixels=True):
            values = np.ascontiguousarray(np.moveaxis(self.file.read(bands, window=window), 0, -1))
            valid: Valid = self.file.read_masks(bands, window=window).any(0)
        if values.dtype.kind == "f":
            valid &= np.isfinite(values).all(-1)
        values[~valid] = 0
        return values, valid

    def to_8_bits(self, values: npt.NDArray[Any]) -> Pixels:
        """Scale values to the range that the network knows."""
        try:
            return to_8_bits(values, self.scene.recipe, Notes())
        except ValueError as error:
            raise UnreadableScene(self.scene.name, str(error)) from None


def size_of(path: Path) -> tuple[int, int]:
    """Return width and height of a scene in pixels.

    Raises:
        UnreadableScene: It cannot be read.
        UserError: rasterio is not installed.
    """
    with _opened(path, str(path)) as file:
        return file.width, file.height


@contextmanager
def _opened(path: Path, name: str) -> Iterator[Any]:
    rio = rasterio()
    with readable(path, name):
        file = rio.open(path)
    with file:
        yield file


def _bands(file: Any, name: str, recipe: Recipe, chosen: bool) -> tuple[int, int, int]:
    if any(str(kind).startswith("complex") for kind in file.dtypes):
        raise UnreadableScene(name, "complex values are no picture")
    if recipe.bands is not None:
        if max(recipe.bands) > file.count:
            text = ",".join(map(str, recipe.bands))
            asks = (
                f"--bands {text} asks for band {max(recipe.bands)}"
                if chosen
                else f"the network has learned from bands {text} (--bands chooses others)"
            )
            raise UnreadableScene(name, f"{counted_bands(file.count)}, but {asks}")
        return recipe.bands
    alpha = rasterio().enums.ColorInterp.alpha
    count = sum(kind != alpha for kind in file.colorinterp)
    if count not in (3, 4):
        example = "4,3,2" if count > 3 else "1,1,1"
        raise UnreadableScene(
            name, f"{counted_bands(count)}: choose three with --bands, as in --bands {example}"
        )
    # Of four, the last one is near infrared or, undeclared, transparency: tools/prepare drops it.
    return 1, 2, 3


def _place(file: Any) -> Place:
    points, crs_of_points = file.gcps
    crs = file.crs or crs_of_points
    rpcs = file.rpcs.to_gdal() if file.rpcs is not None else {}
    return Place(
        crs.to_wkt() if crs else None,
        # One that changes nothing is what a file without any is given.
        None if file.transform.is_identity else tuple(file.transform.to_gdal()),
        tuple((p.col, p.row, p.x, p.y, p.z or 0.0) for p in points),
        tuple((key, str(value)) for key, value in rpcs.items()),
        file.tags().get("AREA_OR_POINT", "Area"),
    )

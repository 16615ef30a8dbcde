"""What is made of scenes, and how: the part of the command line that is about them."""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass

from tools.common.command_line import check_ranges
from train.errors import UserError

BLENDS = ("cosine", "linear", "centre")
PROBABILITIES = ("uint8", "float32")
VECTORS = ("geojson", "gpkg")
# A batch of larger ones needs more memory than most devices have.
_SIDES = (16, 4096)


@dataclass(frozen=True)
class SceneOptions:
    """What is made of scenes, and how: what ``--help`` says of the options of the same names.

    Attributes:
        tile: Side of the tiles of segmentation tasks in pixels; None: 128, or ``image.size`` if
            that is larger.
        stride: From one tile to the next; None: three quarters of a tile.
        blend: How tiles are blended: one of :data:`BLENDS`.
        probabilities: Type of a further file with the probabilities of all classes; None: none.
        scene_tile: Side of the tiles of scene tasks in pixels; None: that of the training pictures.
        vector: Format of grids and polygons.
        polygons: Whether the class maps are written as polygons too.
        bands: Numbers of the bands that are red, green and blue; None: as the training data had.
        range: Values that become 0 and 255; None: as the training data had.
    """

    tile: int | None = None
    stride: int | None = None
    blend: str = "cosine"
    probabilities: str | None = None
    scene_tile: int | None = None
    vector: str = "geojson"
    polygons: bool = False
    bands: tuple[int, int, int] | None = None
    range: tuple[float, float] | None = None

    @classmethod
    def of(cls, arguments: argparse.Namespace) -> SceneOptions:
        """Read the command line.

        Raises:
            UserError: A value is not allowed.
        """
        a = arguments
        kind = a.blend, a.probabilities, a.scene_tile, a.vector, a.polygons
        options = cls(a.tile, a.stride, *kind, _bands(a.bands), _range(a.range))
        check_ranges(options, {"tile": _SIDES, "scene_tile": _SIDES, "stride": (1, _SIDES[1])})
        return options

    def without(self, segmentation: bool, scene: bool) -> list[str]:
        """Return the options that were given, but are of no use.

        Args:
            segmentation: Whether there is a segmentation task.
            scene: Whether there is a scene task.
        """
        of_pixels = {
            "--tile": self.tile is not None,
            "--stride": self.stride is not None,
            "--blend": self.blend != BLENDS[0],
            "--probabilities": self.probabilities is not None,
            "--polygons": self.polygons,
        }
        of_cells = {"--scene-tile": self.scene_tile is not None}
        of_layers = {"--vector": self.vector != VECTORS[0]}
        useless = {} if segmentation else of_pixels
        useless |= {} if scene else of_cells
        useless |= {} if scene or self.polygons else of_layers
        return [name for name, is_given in useless.items() if is_given]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the part of the command line that is about scenes, and about bands."""
    add = parser.add_argument_group("bands and values, of pictures and scenes").add_argument
    text = "bands that are red, green and blue, counted from 1 (default: as the training data had)"
    add("--bands", metavar="R,G,B", help=text)
    text = "values that become 0 and 255 (default: as the training data had)"
    add("--range", metavar="LOW,HIGH", help=text)
    add = parser.add_argument_group("scenes").add_argument
    text = "side of the tiles of segmentation tasks (default: 128, or image.size if that is larger)"
    add("--tile", metavar="PX", type=int, help=text)
    text = "from one tile to the next (default: three quarters of a tile)"
    add("--stride", metavar="PX", type=int, help=text)
    text = (
        "how the probabilities of tiles that overlap are blended: with weights that fall from the "
        "middle to the edges of a tile, or each pixel from the tile whose centre is nearest "
        "(default: cosine)"
    )
    add("--blend", choices=BLENDS, default="cosine", help=text)
    text = "write the probabilities of all classes too, a band each"
    add("--probabilities", choices=PROBABILITIES, help=text)
    text = "side of the tiles of scene tasks (default: that of the training pictures)"
    add("--scene-tile", metavar="PX", type=int, help=text)
    text = "format of grids and polygons (default: geojson)"
    add("--vector", choices=VECTORS, default="geojson", help=text)
    add("--polygons", action="store_true", help="write class maps as polygons too")


def _bands(text: str | None) -> tuple[int, int, int] | None:
    if text is None:
        return None
    try:
        red, green, blue = (int(part) for part in text.split(","))
    except ValueError:
        red = green = blue = 0
    if min(red, green, blue) < 1:
        raise UserError(
            f"--bands {text}: must be R,G,B, the numbers of three bands from 1, as in 4,3,2"
        )
    return red, green, blue


def _range(text: str | None) -> tuple[float, float] | None:
    if text is None:
        return None
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        low = high = math.nan
    if not -math.inf < low < high < math.inf:
        raise UserError(f"--range {text}: must be LOW,HIGH with LOW below HIGH")
    return low, high

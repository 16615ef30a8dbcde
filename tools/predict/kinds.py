"""Which files are scenes, and which are pictures.

A scene is a TIFF with more pixels than --max-pixels, or one that is georeferenced and whose shorter
side is more than twice as long as the pictures that the network sees. With --scenes every TIFF is
one, and whatever else is named and is no picture; with --as-pictures none is. Of what is in object
storage only the name is looked at: it is a picture without --scenes.
"""

import warnings
from dataclasses import dataclass
from pathlib import Path

from tools.common.picture_files import EXTENSIONS
from tools.prepare.bands import Tiff, read_tags

_TIFF = (".tif", ".tiff")
_LARGER = 2
# ModelPixelScale, ModelTiepoint, ModelTransformation and GeoKeyDirectory of GeoTIFF.
_GEOREFERENCED = {33550, 33922, 34264, 34735}


@dataclass(frozen=True)
class Kinds:
    """What decides.

    Attributes:
        forced: Whether all are scenes (True) or pictures (False); None: it depends.
        max_pixels: Most pixels of a picture.
        image_size: Height and width of what the network sees.
    """

    forced: bool | None
    max_pixels: int
    image_size: int

    def is_scene(self, name: str, path: Path | None) -> bool:
        """Return whether a file is a scene; without a path, by its name alone."""
        ending = Path(name).suffix.lower()
        if self.forced:
            return ending in _TIFF or ending not in EXTENSIONS
        if self.forced is False or path is None or ending not in _TIFF:
            return False
        try:
            with warnings.catch_warnings(), path.open("rb") as file:
                warnings.simplefilter("ignore")
                tags = read_tags(file)
        except Exception:  # whoever decodes it will say what is wrong
            return False
        if tags is None:
            return False
        width, height = Tiff(b"", tags).size
        large = min(width, height) > _LARGER * self.image_size
        return width * height > self.max_pixels or (large and not _GEOREFERENCED.isdisjoint(tags))

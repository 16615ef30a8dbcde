"""From a file to what the network sees: as ``tools prepare`` and the evaluation would have done it.

Shapes: S = side of the squares that the network sees.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from mindspore.dataset import vision

from tools.predict.windows import Pixels, offsets, square
from tools.prepare.deep_values import Spread
from tools.prepare.images import Decoded, encoded, read_picture
from tools.prepare.recipe import Recipe
from train.data.transforms import evaluation_transforms

_MOST_SQUARES = 65
# Orientations that turn by a quarter.
_LYING = (5, 6, 7, 8)


@dataclass(frozen=True)
class Squares:
    """A picture, decoded.

    Attributes:
        size: Its own width and height, upright.
        shape: Height and width once its shorter side is S.
        begins: Where the squares begin along the longer side, that in the middle first.
        pixels: For every recipe, the squares, uint8 (n, S, S, 3).
        spread: Which of its values it uses, if they have more than 8 bits and no range is given.
    """

    size: tuple[int, int]
    shape: tuple[int, int]
    begins: list[int]
    pixels: list[Pixels]
    spread: Spread | None = None


@dataclass(frozen=True)
class Decoder:
    """What makes squares of files.

    Attributes:
        recipes: The different ways in which the data sets were prepared.
        size: S.
        whole: Whether the squares cover the picture; else there is only that in the middle.
    """

    recipes: Sequence[Recipe]
    size: int
    whole: bool

    def squares(self, data: bytes) -> Squares:
        """Decode a file.

        Raises:
            Exception: Whatever decoders raise on what they cannot read.
        """
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = [(recipe, read_picture(data, recipe)) for recipe in self.recipes]
        scaled = [self._scaled(_stored(data, decoded, recipe)) for recipe, decoded in found]
        # Stored at different sizes, they may differ by a pixel.
        shape = min((pixels.shape[0], pixels.shape[1]) for pixels in scaled)
        begins = offsets(max(shape), self.size, self.whole)
        first = found[0][1]
        size = first.original[::-1] if first.orientation in _LYING else first.original
        if len(begins) > _MOST_SQUARES:
            raise ValueError(f"{size[0]}x{size[1]}: its longer side is too long for a mask")
        squares = []
        for pixels in scaled:
            middle = offsets(max(pixels.shape[:2]), self.size, False)
            places = [*middle, *begins[1:]]
            squares.append(np.stack([square(pixels, place, self.size) for place in places]))
        spreads = (decoded.notes.spread for recipe, decoded in found if recipe.range is None)
        return Squares(size, shape, begins, squares, next(spreads, None))

    def _scaled(self, pixels: Pixels) -> Pixels:
        """Do what an evaluation does, but for the crop."""
        _, resize, _ = evaluation_transforms(self.size)
        result: Pixels = np.asarray(resize(pixels))
        return result


def _stored(data: bytes, decoded: Decoded, recipe: Recipe) -> Pixels:
    """Return the pixels that a record of this picture would give."""
    if recipe.format == "png":  # loses nothing
        return np.asarray(decoded.image)
    jpeg = np.frombuffer(encoded(data, decoded, recipe), np.uint8)
    result: Pixels = np.asarray(vision.Decode()(jpeg))
    return result

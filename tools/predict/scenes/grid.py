"""Where tiles are, and how much of a pixel each of them decides, along one axis of a scene.

The weight of a tile at a pixel is the product of the two axes' weights, and those of all tiles at a
pixel add up to one, also at the borders: each axis' own do. So what the tiles say only has to be
added up, in one order.

Shapes: L = pixels of the axis, T = those of a tile, n = tiles.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

# Pixels of a block, about: what it costs to compute the tiles at its edges twice is then small, and
# what is lost with a process that is killed too.
_BLOCK = 2304


@dataclass(frozen=True)
class Block:
    """Some pixels of an axis, and the tiles that they need.

    Attributes:
        start, stop: The first pixel, and the one behind the last.
        tiles: Numbers of the tiles.
    """

    start: int
    stop: int
    tiles: range


@dataclass(frozen=True)
class Axis:
    """The tiles along an axis.

    They begin at multiples of the stride, and the last one ends where the scene does. In a scene
    that is smaller than a tile there is one, which reaches beyond it.

    Attributes:
        length: L.
        tile: T.
        stride: From one tile to the next, at most T.
        blend: One of :data:`tools.predict.scenes.options.BLENDS`.
    """

    length: int
    tile: int
    stride: int
    blend: str

    @cached_property
    def origins(self) -> tuple[int, ...]:
        """Where the tiles begin."""
        last = max(0, self.length - self.tile)
        return (*range(0, last, self.stride), last)

    @cached_property
    def weights(self) -> npt.NDArray[np.float32]:
        """The weights of all tiles at their pixels, (n, T)."""
        if self.blend == "centre":
            return self._nearest()
        where = (np.arange(self.tile) + 0.5) / self.tile
        # Never zero, so that a pixel that only one tile sees is that one's.
        window = np.sin(np.pi * where) ** 2 if self.blend == "cosine" else 1 - abs(2 * where - 1)
        total = np.zeros(max(self.length, self.tile))
        for origin in self.origins:
            total[origin : origin + self.tile] += window
        parts = [window / total[origin : origin + self.tile] for origin in self.origins]
        return np.array(parts, np.float32)

    def _nearest(self) -> npt.NDArray[np.float32]:
        """One where a tile's centre is the nearest one, of two as near the first; else zero."""
        origins = np.array(self.origins)
        # Pixels from here on are nearer to the next tile.
        ends = [*((origins[:-1] + origins[1:] + self.tile + 1) // 2), np.iinfo(np.int64).max]
        starts = [0, *ends[:-1]]
        pixels = origins[:, None] + np.arange(self.tile)
        nearest = (np.c_[starts] <= pixels) & (pixels < np.c_[ends])
        weights: npt.NDArray[np.float32] = nearest.astype(np.float32)
        return weights

    @cached_property
    def blocks(self) -> tuple[Block, ...]:
        """Blocks of as many tiles each, or one more."""
        count = len(self.origins)
        parts = -(-count // max(1, _BLOCK // self.stride))
        bounds = [self.origins[count * i // parts] for i in range(parts)]
        return tuple(
            Block(start, stop, self._tiles_in(start, stop))
            for start, stop in zip(bounds, [*bounds[1:], self.length], strict=True)
        )

    def _tiles_in(self, start: int, stop: int) -> range:
        inside = [i for i, o in enumerate(self.origins) if o < stop and o + self.tile > start]
        return range(inside[0], inside[-1] + 1)

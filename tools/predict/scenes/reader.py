"""Reads a scene ahead of the network: rows of tiles of its blocks, in a thread."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np

from tools.predict.ahead import ahead
from tools.predict.scenes.grid import Block
from tools.predict.scenes.plan import Plan
from tools.predict.scenes.scene import OpenScene, Pixels, Valid

# Rows of tiles that wait for the network.
_AHEAD = 2


class Part(NamedTuple):
    """A block of a scene.

    Attributes:
        number: Its number, which its piece has too.
        rows, columns: What it is of the two axes.
    """

    number: int
    rows: Block
    columns: Block

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.rows.stop - self.rows.start, self.columns.stop - self.columns.start


@dataclass(frozen=True)
class Strip:
    """A row of tiles of a block, without those that have no valid pixel.

    Attributes:
        part: The block.
        row: Number of the row of tiles.
        columns: Number of each tile across the scene.
        tiles: Their pixels, (T, T, 3) each.
        first, last: The pixels of the block that are finished with this row: from the first one,
            counted from where the tiles begin, to the one before the last.
        valid: Which of these are valid, (last - first, width of the block).
    """

    part: Part
    row: int
    columns: Sequence[int]
    tiles: Sequence[Pixels]
    first: int
    last: int
    valid: Valid


def parts_of(plan: Plan) -> list[Part]:
    """Return the blocks of a scene."""
    both = [(rows, columns) for rows in plan.rows.blocks for columns in plan.columns.blocks]
    return [Part(number, *blocks) for number, blocks in enumerate(both)]


def strips(plan: Plan, parts: Sequence[Part]) -> Iterator[Strip]:
    """Yield all rows of tiles of some blocks, in order.

    Raises:
        UserError: The scene cannot be read.
    """
    jobs = ((part, row) for part in parts for row in part.rows.tiles)
    with plan.scene.opened() as scene:
        yield from ahead(partial(_read, plan, scene), jobs, threads=1, most=_AHEAD)


def _read(plan: Plan, scene: OpenScene, job: tuple[Part, int]) -> Strip:
    part, row = job
    side, across = plan.rows.tile, plan.columns.origins
    left, top = across[part.columns.tiles[0]], plan.rows.origins[row]
    right = min(across[part.columns.tiles[-1]] + side, plan.scene.width)
    height = min(side, plan.scene.height - top)
    pixels, valid = scene.read(left, top, right - left, height)
    columns, tiles = [], []
    for column in part.columns.tiles:
        inside = slice(across[column] - left, across[column] - left + side)
        if valid[:, inside].any():
            columns.append(column)
            tiles.append(_whole(pixels[:, inside], side))
    first, last = _finished(plan, part, row)
    of_block = slice(part.columns.start - left, part.columns.stop - left)
    return Strip(part, row, columns, tiles, first, last, valid[first:last, of_block])


def _finished(plan: Plan, part: Part, row: int) -> tuple[int, int]:
    """Return which rows of pixels no later row of tiles changes."""
    top = plan.rows.origins[row]
    last_of_block = row == part.rows.tiles[-1]
    end = part.rows.stop if last_of_block else plan.rows.origins[row + 1]
    first = max(part.rows.start - top, 0)
    return first, max(first, min(end, part.rows.stop) - top)


def _whole(pixels: Pixels, side: int) -> Pixels:
    """Return a tile: what reaches beyond a small scene is its mirror image."""
    height, width = pixels.shape[:2]
    padding = ((0, side - height), (0, side - width), (0, 0))
    return np.pad(pixels, padding, "symmetric") if (height, width) != (side, side) else pixels

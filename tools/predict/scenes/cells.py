"""Scene tasks: a class for every square of a grid, each seen as a picture of the training data.

A square is resized as in an evaluation. At the right and at the bottom, a square that would reach
beyond the scene is predicted from the last whole one, of which it is a part; a scene smaller than a
square is continued by its mirror image. A square without any valid pixel has no class.

Shapes: n = squares, S = side of what the network sees.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tools.predict.ahead import ahead
from tools.predict.scenes.pieces import Floats, cells_piece
from tools.predict.scenes.plan import Plan
from tools.predict.scenes.scene import OpenScene, Pixels
from train.files import replacement

if TYPE_CHECKING:
    from train.inference.trained_model import TrainedModel

# Rows of pixels of a piece, about.
_ROWS = 2304
_AHEAD = 2


class Cells(NamedTuple):
    """Some rows of squares.

    Attributes:
        number: Their number, which their piece has too.
        rows: The rows.
    """

    number: int
    rows: range


class _Seen(NamedTuple):
    """Squares of a row that have valid pixels.

    Attributes:
        row: Which row.
        columns: Where they are in it.
        valid: What share of each is valid.
        pictures: What the network sees of each, (S, S, 3).
        pixels: Pixels of all squares that were looked at.
    """

    row: int
    columns: list[int]
    valid: list[float]
    pictures: list[Pixels]
    pixels: int


def shape_of(plan: Plan) -> tuple[int, int]:
    """Return rows and columns of the grid."""
    return -(-plan.scene.height // plan.cell), -(-plan.scene.width // plan.cell)


def cells_of(plan: Plan) -> list[Cells]:
    """Return the rows of the grid, in pieces."""
    count = shape_of(plan)[0]
    step = max(1, _ROWS // plan.cell)
    starts = range(0, count, step)
    return [Cells(i, range(start, min(start + step, count))) for i, start in enumerate(starts)]


def pixels_of(plan: Plan, rows: range, columns: range) -> int:
    """Return the number of pixels in some rows and columns of squares."""
    height = min(rows.stop * plan.cell, plan.scene.height) - rows.start * plan.cell
    width = min(columns.stop * plan.cell, plan.scene.width) - columns.start * plan.cell
    return height * width


def compute(
    plan: Plan,
    model: TrainedModel,
    to: Path,
    pieces: Sequence[Cells],
    advance: Callable[[int], None],
) -> None:
    """Compute some pieces, and write them: (rows, columns, 1 + all classes) of float32.

    The first value is the share of valid pixels. The others are the probabilities of the tasks, one
    after the other, or not a number.

    Args:
        plan: What is to be computed.
        model: The network.
        to: The folder of the scene's files.
        pieces: Which pieces.
        advance: Takes the number of pixels that are finished.

    Raises:
        UserError: The scene cannot be read.
        OSError: A piece cannot be written.
    """
    columns = shape_of(plan)[1]
    classes = sum(len(answer.classes) for answer in plan.of_cells)
    with plan.scene.opened() as scene:
        for piece in pieces:
            found = np.full((len(piece.rows), columns, 1 + classes), np.nan, np.float32)
            found[..., 0] = 0
            look = partial(_look, plan, scene, model.image_size)
            steps = (
                (row, range(start, min(start + model.batch, columns)))
                for row in piece.rows
                for start in range(0, columns, model.batch)
            )
            for seen in ahead(look, steps, threads=1, most=_AHEAD):
                if seen.columns:
                    found[seen.row - piece.rows.start, seen.columns] = _ask(plan, model, seen)
                advance(seen.pixels)
            with replacement(cells_piece(to, piece.number)) as temporary, temporary.open("wb") as f:
                np.save(f, found)


def _look(plan: Plan, scene: OpenScene, side: int, squares: tuple[int, range]) -> _Seen:
    """Read squares of a row; ``side`` is S."""
    row, columns = squares
    seen = _Seen(row, [], [], [], pixels_of(plan, range(row, row + 1), columns))
    for column in columns:
        picture, valid = _square(plan, scene, row, column)
        if valid:
            seen.columns.append(column)
            seen.valid.append(valid)
            seen.pictures.append(_resized(picture, side))
    return seen


def _square(plan: Plan, scene: OpenScene, row: int, column: int) -> tuple[Pixels, float]:
    """Return the picture of a square, and what share of the square is valid."""
    cell, height, width = plan.cell, plan.scene.height, plan.scene.width
    top, left = max(0, min(row * cell, height - cell)), max(0, min(column * cell, width - cell))
    pixels, valid = scene.read(left, top, min(cell, width), min(cell, height))
    own = valid[row * cell - top :, column * cell - left :]
    missing = cell - pixels.shape[0], cell - pixels.shape[1]
    if any(missing):
        pixels = np.pad(pixels, ((0, missing[0]), (0, missing[1]), (0, 0)), "symmetric")
    return pixels, float(own.mean())


def _resized(picture: Pixels, side: int) -> Pixels:
    """Resize a square as an evaluation does."""
    if len(picture) == side:
        return picture
    from mindspore.dataset import vision
    from mindspore.dataset.vision import Inter

    resized: Pixels = vision.Resize(side, Inter.LINEAR)(picture)
    return resized


def _ask(plan: Plan, model: TrainedModel, seen: _Seen) -> Floats:
    """Return what a piece holds of some squares, (n, 1 + all classes)."""
    scores = model.probabilities(np.stack(seen.pictures))
    valid = np.array(seen.valid, np.float32)[:, None]
    return np.concatenate([valid, *(scores[answer.position] for answer in plan.of_cells)], axis=1)

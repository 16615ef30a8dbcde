"""One process's share of a scene: the pieces that are its own and not there yet."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from tools.predict.scenes import cells, pixels
from tools.predict.scenes.finish import is_finished
from tools.predict.scenes.pieces import PIECES, cells_piece, outputs_of
from tools.predict.scenes.plan import Plan
from tools.predict.scenes.reader import parts_of

if TYPE_CHECKING:
    from tools.predict.share import Share
    from train.inference.trained_model import TrainedModel

Advance = Callable[[int], None]


def work(plan: Plan, model: TrainedModel, to: Path, share: Share, advance: Advance) -> None:
    """Compute the pieces of this process.

    Args:
        plan: What is to be computed.
        model: The network.
        to: The folder of the scene's files.
        share: Which pieces are this process's.
        advance: Takes the number of pixels that are finished.

    Raises:
        UserError: The scene cannot be read.
        OSError: A piece cannot be written.
    """
    done = is_finished(plan, to)
    if not done:
        (to / PIECES).mkdir(exist_ok=True)
    if plan.of_cells:
        # They are soon done; where there are pixels too, those are what is counted.
        count: Advance = _nothing if plan.of_pixels else advance
        squares = []
        for piece in cells.cells_of(plan):
            if share.mine(piece.number):
                if done or cells_piece(to, piece.number).exists():
                    count(cells.pixels_of(plan, piece.rows, range(cells.shape_of(plan)[1])))
                else:
                    squares.append(piece)
        cells.compute(plan, model, to, squares, count)
    if plan.of_pixels:
        outputs, blocks = outputs_of(plan), []
        for part in parts_of(plan):
            if share.mine(part.number):
                if done or all(o.piece(to, part.number).exists() for o in outputs):
                    advance(part.size[0] * part.size[1])
                else:
                    blocks.append(part)
        pixels.compute(plan, model, to, blocks, advance)


def count_pieces(plan: Plan, to: Path) -> tuple[int, int]:
    """Return how many pieces of a scene are there, and how many there are in the end."""
    squares = cells.cells_of(plan) if plan.of_cells else []
    outputs = outputs_of(plan)
    blocks = parts_of(plan) if plan.of_pixels else []
    total = len(squares) + len(blocks)
    if is_finished(plan, to):
        return total, total
    done = sum(cells_piece(to, piece.number).exists() for piece in squares)
    done += sum(all(o.piece(to, part.number).exists() for o in outputs) for part in blocks)
    return done, total


def forget_pieces(to: Path) -> None:
    """Remove the pieces of a scene of which nothing can be made."""
    shutil.rmtree(to / PIECES, ignore_errors=True)


def _nothing(pixels: int) -> None:
    """Count nothing."""

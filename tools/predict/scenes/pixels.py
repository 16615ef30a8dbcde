"""Segmentation tasks: blocks of a scene, blended of what the network says of their tiles.

Shapes: K = classes of a task, T = side of a tile, w = width of a block.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tools.predict.scenes.pieces import Floats, outputs_of, raster_piece
from tools.predict.scenes.plan import Plan
from tools.predict.scenes.reader import Part, Strip, strips
from tools.predict.scenes.scene import Pixels

if TYPE_CHECKING:
    from train.inference.trained_model import TrainedModel


class _Answer(NamedTuple):
    """What the network says of a tile of a row; without a tile, the row is complete."""

    strip: Strip
    tile: int | None
    scores: Sequence[Floats]


def compute(
    plan: Plan,
    model: TrainedModel,
    to: Path,
    parts: Sequence[Part],
    advance: Callable[[int], None],
) -> None:
    """Compute some blocks, and write a piece for each.

    Args:
        plan: What is to be computed.
        model: The network.
        to: The folder of the scene's files.
        parts: The blocks.
        advance: Takes the number of pixels that are finished.

    Raises:
        UserError: The scene cannot be read.
        OSError: A piece cannot be written.
    """
    outputs = outputs_of(plan)
    answers = groupby(_answers(strips(plan, parts), model), lambda a: a.strip.part.number)
    for part, (_, of_part) in zip(parts, answers, strict=True):
        canvas = Canvas(plan, part)
        with raster_piece(outputs, to, part.number) as piece:
            for answer in of_part:
                if answer.tile is not None:
                    canvas.add(answer.strip, answer.tile, answer.scores)
                else:
                    piece.write(canvas.finish(answer.strip), answer.strip.valid)
                    advance(answer.strip.valid.size)


def _answers(rows: Iterable[Strip], model: TrainedModel) -> Iterator[_Answer]:
    """Ask the network about all tiles, in full batches, whatever block they are of."""
    waiting: deque[_Answer] = deque()
    tiles = 0
    for strip in rows:
        waiting.extend(_Answer(strip, i, ()) for i in range(len(strip.tiles)))
        waiting.append(_Answer(strip, None, ()))
        tiles += len(strip.tiles)
        while tiles >= model.batch:
            yield from _ask(waiting, model)
            tiles -= model.batch
    yield from _ask(waiting, model)


def _ask(waiting: deque[_Answer], model: TrainedModel) -> Iterator[_Answer]:
    """Answer what has waited longest, one batch at most."""
    asked: list[_Answer] = []
    images: list[Pixels] = []
    while waiting and len(images) < model.batch:
        one = waiting.popleft()
        asked.append(one)
        if one.tile is not None:
            images.append(one.strip.tiles[one.tile])
    scores = model.probabilities(np.stack(images)) if images else []
    of_tiles = iter(zip(*scores, strict=True))
    for one in asked:
        yield one if one.tile is None else one._replace(scores=next(of_tiles))


class Canvas:
    """The probabilities of a block, as high as a row of tiles.

    Each tile is added where it is, with its weights: rows from top to bottom and in them from left
    to right, so that the sum at a pixel does not depend on the blocks.

    Args:
        plan: What is to be computed.
        part: The block.
    """

    def __init__(self, plan: Plan, part: Part) -> None:
        self._plan, self._part = plan, part
        shape = plan.rows.tile, part.size[1]
        self._sums = {
            a.position: np.zeros((len(a.classes), *shape), np.float32) for a in plan.of_pixels
        }

    def add(self, strip: Strip, tile: int, scores: Sequence[Floats]) -> None:
        """Add what the network says of a tile, (K, T, T) for every task."""
        rows, columns = self._plan.rows, self._plan.columns
        column = strip.columns[tile]
        weights = rows.weights[strip.row][:, None] * columns.weights[column]
        # Where the tile begins in the block, and what of it is inside.
        begin = columns.origins[column] - self._part.columns.start
        inside = slice(max(0, -begin), self._part.size[1] - begin)
        place = slice(max(0, begin), begin + columns.tile)
        for position, sums in self._sums.items():
            sums[:, :, place] += scores[position][:, :, inside] * weights[:, inside]

    def finish(self, strip: Strip) -> dict[int, Floats]:
        """Return by task the rows (K, rows, w) that are finished with a row of tiles, and go on."""
        finished = {p: sums[:, strip.first : strip.last].copy() for p, sums in self._sums.items()}
        if strip.row < self._part.rows.tiles[-1]:
            origins = self._plan.rows.origins
            step = origins[strip.row + 1] - origins[strip.row]
            for sums in self._sums.values():
                sums[:, :-step] = sums[:, step:].copy()
                sums[:, -step:] = 0
        return finished

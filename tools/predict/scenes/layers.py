"""What a layer holds: the squares of a scene task, or the areas of a segmentation task."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tools.predict.scenes.cells import cells_of
from tools.predict.scenes.gdal import rasterio, readable
from tools.predict.scenes.pieces import cells_piece
from tools.predict.scenes.plan import Answer, Plan
from tools.predict.scenes.vectors import Feature, Ring, Values, area_of, moved
from train.data.records import IGNORE_INDEX

_DIGITS = 4


def squares(plan: Plan, to: Path, answer: Answer) -> Iterator[Feature]:
    """Yield the squares of a scene task that have a class, row by row.

    Args:
        plan: What was computed.
        to: The folder of the scene's files.
        answer: The task.

    Raises:
        OSError: A piece is missing.
    """
    before = plan.of_cells[: plan.of_cells.index(answer)]
    first = 1 + sum(len(other.classes) for other in before)
    width, height = plan.scene.width, plan.scene.height
    for piece in cells_of(plan):
        found = np.load(cells_piece(to, piece.number))
        for row, values in zip(piece.rows, found, strict=True):
            top, bottom = row * plan.cell, min((row + 1) * plan.cell, height)
            for column in np.flatnonzero(values[:, 0] > 0):
                left = int(column) * plan.cell
                scores = values[column, first : first + len(answer.classes)]
                best = int(scores.argmax())
                about: Values = {
                    "class": answer.classes[best],
                    "probability": round(float(scores[best]), _DIGITS),
                    "valid": round(float(values[column, 0]), _DIGITS),
                    "row": row,
                    "column": int(column),
                }
                yield Feature([_box(left, top, min(left + plan.cell, width), bottom)], about)


def _box(left: int, top: int, right: int, bottom: int) -> Ring:
    corners = [(left, top), (left, bottom), (right, bottom), (right, top), (left, top)]
    return np.array(corners, float)


def areas(class_map: Path, answer: Answer) -> Iterator[Feature]:
    """Yield the areas of one class each in a class map, with their holes.

    Pixels of an area touch at a side. GDAL reads the map row by row, and keeps all areas.

    Args:
        class_map: The file.
        answer: The task.

    Raises:
        UserError: It cannot be read.
    """
    with readable(class_map, str(class_map)), rasterio().open(class_map) as file:
        # GDAL puts the areas where the scene is.
        back = (~file.transform).to_gdal()
        for shape, value in rasterio().features.shapes(rasterio().band(file, 1)):
            if value != IGNORE_INDEX:
                rings = [np.rint(moved(np.array(r), back)) for r in shape["coordinates"]]
                outer, *holes = [abs(area_of(ring)) for ring in rings]
                name = answer.classes[int(value)]
                about: Values = {"class": name, "pixels": round(outer - sum(holes))}
                yield Feature(rings, about)

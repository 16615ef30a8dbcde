"""The pieces of a scene, small files that are whole or not there, and what they become."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from tools.predict.scenes.plan import Answer, Plan
from tools.predict.scenes.scene import Valid
from train.data.records import IGNORE_INDEX
from train.files import replacement

Floats = npt.NDArray[np.float32]

PIECES = "pieces"
# 255 is what has no value.
STEPS = 254


@dataclass(frozen=True)
class Output:
    """A raster that is made of a segmentation task.

    Attributes:
        answer: The task.
        probabilities: ``uint8`` or ``float32`` for those of all classes; None: the class map.
    """

    answer: Answer
    probabilities: str | None

    @property
    def dtype(self) -> str:
        """Type of its values."""
        return self.probabilities or "uint8"

    @property
    def bands(self) -> tuple[str, ...]:
        """Names of its bands."""
        return (self.answer.name,) if self.probabilities is None else self.answer.classes

    @property
    def nodata(self) -> float:
        """Value of pixels without data."""
        return float("nan") if self.probabilities == "float32" else IGNORE_INDEX

    def name(self, stem: str) -> str:
        """Return the name of its file."""
        kind = "" if self.probabilities is None else "_probabilities"
        return f"{stem}_{self.answer.name}{kind}.tif"

    def piece(self, to: Path, number: int) -> Path:
        """Return the path of a piece of it."""
        kind = "classes" if self.probabilities is None else self.probabilities
        return to / PIECES / f"{number:06d}_{self.answer.position:03d}_{kind}.raw"

    def values(self, scores: Floats, valid: Valid) -> npt.NDArray[Any]:
        """Probabilities (K, h, w) -> what is stored of them, (bands, h, w)."""
        if self.probabilities is None:
            found: npt.NDArray[Any] = scores.argmax(0, keepdims=True).astype(np.uint8)
        elif self.probabilities == "uint8":
            found = np.rint(scores * STEPS).clip(0, STEPS).astype(np.uint8)
        else:
            found = scores.copy()
        found[:, ~valid] = self.nodata
        return found


def outputs_of(plan: Plan) -> list[Output]:
    """Return the rasters that are made of a scene."""
    kinds = (None,) if plan.options.probabilities is None else (None, plan.options.probabilities)
    return [Output(answer, kind) for answer in plan.of_pixels for kind in kinds]


def cells_piece(to: Path, number: int) -> Path:
    """Return the path of a piece of the grid of the scene tasks."""
    return to / PIECES / f"{number:06d}_cells.npy"


class RasterPiece:
    """A block of all rasters, written from its first row to its last one.

    Args:
        files: An open file for every output.
    """

    def __init__(self, files: Sequence[tuple[Output, BinaryIO]]) -> None:
        self._files = files

    def write(self, scores: dict[int, Floats], valid: Valid) -> None:
        """Write the next rows: by the position of a task (K, h, w), and valid pixels (h, w)."""
        for output, file in self._files:
            values = output.values(scores[output.answer.position], valid)
            file.write(np.ascontiguousarray(values.swapaxes(0, 1)).data)


@contextmanager
def raster_piece(outputs: list[Output], to: Path, number: int) -> Iterator[RasterPiece]:
    """Give a piece; it is there at the end of the block.

    It is a bare array (rows, bands, columns): GDAL tells not everybody that a disk is full.

    Raises:
        OSError: It cannot be written.
    """
    with ExitStack() as stack:
        files = []
        for output in outputs:
            temporary = stack.enter_context(replacement(output.piece(to, number)))
            files.append((output, stack.enter_context(temporary.open("wb"))))
        yield RasterPiece(files)

"""The pictures of a report as event files for TensorBoard, beside those of the run's metrics."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from tools.report import pictures
from tools.report.looks import MOST_MISTAKES, Look, Looks
from tools.report.markup import Pixels
from train.run.event_files import FOLDER, EventFile

_GAP = 4


def write(folder: Path, looks: Looks) -> None:
    """Write what was seen into the event files of a run, in the place of what was seen before.

    Raises:
        OSError: It cannot be written.
    """
    events = folder / FOLDER
    for old in events.glob("*.pictures"):
        old.unlink()
    file = EventFile(events, "pictures")
    for tag, pixels in _sheets(looks):
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "PNG")
        height, width = pixels.shape[:2]
        file.add_picture(tag, looks.step, buffer.getvalue(), width, height)
    file.flush()


def _sheets(looks: Looks) -> Iterator[tuple[str, Pixels]]:
    if looks.attention:
        for level in range(len(looks.attention[0].maps[0])):
            yield f"attention/level_{level + 1}", _sheet(pictures.attention_rows(looks, level))
    for task, look in looks.tasks.items():
        if rows := _rows(looks, look):
            yield f"{'truth_answer_wrong' if look.painted else 'mistakes'}/{task}", _sheet(rows)


def _rows(looks: Looks, look: Look) -> list[list[Pixels]]:
    if look.painted:
        return [pictures.painted_row(looks, look, shown) for shown in look.painted]
    shown = look.mistakes[:MOST_MISTAKES]
    found = [looks.originals[look.task.dataset, mistake.number].pixels for mistake in shown]
    return [found[i : i + 4] for i in range(0, len(found), 4)]


def _sheet(rows: Sequence[Sequence[Pixels]]) -> Pixels:
    """Lay pictures of one size out in rows, on white."""
    height, width = rows[0][0].shape[:2]
    columns = max(map(len, rows))
    shape = len(rows) * (height + _GAP) - _GAP, columns * (width + _GAP) - _GAP, 3
    sheet = np.full(shape, 255, np.uint8)
    for i, row in enumerate(rows):
        for j, pixels in enumerate(row):
            y, x = i * (height + _GAP), j * (width + _GAP)
            sheet[y : y + height, x : x + width] = pixels
    return sheet

"""Tables as text that fit a terminal. The first column and the first row are the headings."""

import shutil
import unicodedata
from collections.abc import Sequence

Rows = Sequence[Sequence[object]]


def terminal_width() -> int | None:
    """Return the columns of the terminal that is written to; None if there is none."""
    return shutil.get_terminal_size((0, 0)).columns or None


def fitted(rows: Rows, width: int | None) -> str:
    """Lay rows out in columns or, where the width is too small, with rows and columns exchanged.

    If that is too wide as well, there is a block of lines for every row.
    """
    for shape in (rows, list(zip(*rows, strict=True))):
        text = in_columns(shape)
        if width is None or max(map(_width, text.splitlines())) <= width:
            return text
    (corner, *headings), *others = rows
    blocks = []
    for name, *cells in others:
        pairs = zip(headings, cells, strict=True)
        blocks += [f"  {corner} {name}", in_columns([(f"  {h}", cell) for h, cell in pairs])]
    return "\n".join(blocks)


def in_columns(rows: Rows) -> str:
    """Lay rows out in columns: the first to the left, others to the right."""
    texts = [[str(cell).replace("\n", " ") for cell in row] for row in rows]
    widths = [max(map(_width, column)) for column in zip(*texts, strict=True)]
    lines = []
    for first, *others in texts:
        cells = [first + " " * (widths[0] - _width(first))]
        for cell, width in zip(others, widths[1:], strict=True):
            cells.append(" " * (width - _width(cell)) + cell)
        lines.append("  ".join(["", *cells]).rstrip())
    return "\n".join(lines)


def _width(text: str) -> int:
    """Return the columns that a text takes: two for a Chinese letter, none for an accent."""
    return sum(
        0 if unicodedata.combining(letter) else 1 + (unicodedata.east_asian_width(letter) in "WF")
        for letter in text
    )

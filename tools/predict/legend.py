"""The legend of a task: the colours of its classes, for people and for programs."""

import json
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw

from tools.common.lettering import typeface
from tools.describe.mask_colours import Colour

INK, FAINT, PAPER = (28, 32, 38), (104, 112, 122), (252, 252, 250)
_EDGE = (150, 150, 150)
_MARGIN = 14
_ROW = 24
CHIP = 16


def hexadecimal(colour: Colour) -> str:
    """Return a colour as "#rrggbb"."""
    return "#{:02x}{:02x}{:02x}".format(*colour)


def write_json(path: Path, classes: Sequence[str], colours: Sequence[Colour]) -> None:
    """Write the value in a mask, the name and the colour of every class."""
    rows = [
        {"value": value, "class": name, "colour": hexadecimal(colour)}
        for value, (name, colour) in enumerate(zip(classes, colours, strict=True))
    ]
    path.write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def write_picture(
    path: Path, title: str, classes: Sequence[str], colours: Sequence[Colour]
) -> None:
    """Draw the classes below each other, each beside its colour."""
    font, bold = typeface(14), typeface(15, bold=True)
    widest = max(font.getlength(name) + CHIP + 10 for name in classes)
    width = int(max(widest, bold.getlength(title))) + 2 * _MARGIN
    sheet = Image.new("RGB", (width, (len(classes) + 1) * _ROW + 2 * _MARGIN), PAPER)
    pen = ImageDraw.Draw(sheet)
    pen.text((_MARGIN, _MARGIN - 2), title, INK, bold)
    for number, (name, colour) in enumerate(zip(classes, colours, strict=True), start=1):
        y = _MARGIN + number * _ROW
        chip(pen, _MARGIN, y, colour)
        pen.text((_MARGIN + CHIP + 10, y - 1), name, INK, font)
    sheet.save(path, "PNG")


def chip(pen: ImageDraw.ImageDraw, x: int, y: int, colour: Colour) -> None:
    """Draw a small square of a colour."""
    pen.rectangle((x, y, x + CHIP, y + CHIP), colour, outline=_EDGE)

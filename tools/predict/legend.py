"""The legend of a task: the colours of its classes, for people and for programs."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Legend:
    """The classes of a task and their colours.

    Attributes:
        task: Name of the task.
        classes: Names of the classes, by their value in a mask.
        colours: Their colours.
    """

    task: str
    classes: Sequence[str]
    colours: Sequence[Colour]

    def write_json(self, path: Path) -> None:
        """Write the value in a mask, the name and the colour of every class."""
        rows = [
            {"value": value, "class": name, "colour": hexadecimal(colour)}
            for value, (name, colour) in enumerate(zip(self.classes, self.colours, strict=True))
        ]
        text = json.dumps(rows, indent=1, ensure_ascii=False) + "\n"
        path.write_text(text, encoding="utf-8")

    def write_picture(self, path: Path) -> None:
        """Draw the classes below each other, each beside its colour."""
        font, bold = typeface(14), typeface(15, bold=True)
        widest = max(font.getlength(name) + CHIP + 10 for name in self.classes)
        width = int(max(widest, bold.getlength(self.task))) + 2 * _MARGIN
        sheet = Image.new("RGB", (width, (len(self.classes) + 1) * _ROW + 2 * _MARGIN), PAPER)
        pen = ImageDraw.Draw(sheet)
        pen.text((_MARGIN, _MARGIN - 2), self.task, INK, bold)
        y = _MARGIN
        for name, colour in zip(self.classes, self.colours, strict=True):
            y += _ROW
            chip(pen, _MARGIN, y, colour)
            pen.text((_MARGIN + CHIP + 10, y - 1), name, INK, font)
        sheet.save(path, "PNG")


def chip(pen: ImageDraw.ImageDraw, x: int, y: int, colour: Colour) -> None:
    """Draw a small square of a colour."""
    pen.rectangle((x, y, x + CHIP, y + CHIP), colour, outline=_EDGE)

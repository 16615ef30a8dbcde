"""Annotated copies: the picture, its masks laid over it, and below what every task says."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from tools.common.lettering import typeface, wrap
from tools.describe.mask_colours import Colour
from tools.predict.legend import CHIP, FAINT, INK, PAPER, chip
from tools.predict.windows import Pixels

_LONGEST, _SHORTEST = 768, 256
_NARROWEST = 340
_MARGIN = 12
_GAP = 10
_LINE = 24
_OPACITY = 0.5
# Classes with a smaller share of the pixels are left out of the text.
_SEEN = 0.005
_BAR = (86, 132, 196)
_BAR_PAPER = (224, 228, 232)
_BAR_WIDTH = 84


@dataclass(frozen=True)
class Overlay:
    """A mask to be laid over the picture, with the colours of its classes."""

    task: str
    mask: Pixels
    colours: Sequence[Colour]


def annotated(
    picture: Image.Image, answers: Mapping[str, Mapping[str, Any]], overlays: Sequence[Overlay]
) -> Image.Image:
    """Draw a copy.

    Args:
        picture: Upright RGB.
        answers: What the tables tell of every task.
        overlays: The masks, of the size of the picture.

    Returns:
        The picture, no longer than 768 pixels and no shorter than 256, beside it one more for every
        mask, and the text.
    """
    size = _shown(picture.size)
    panels = [picture.resize(size, Image.Resampling.LANCZOS)]
    panels += [_covered(panels[0], overlay) for overlay in overlays]
    beside = size[0] <= size[1] * 2  # else below each other
    step = size[0] + _GAP if beside else size[1] + _GAP
    area = (step * len(panels) - _GAP, size[1]) if beside else (size[0], step * len(panels) - _GAP)
    width = max(area[0], _NARROWEST) + 2 * _MARGIN
    text = _Text(width)
    colours = {overlay.task: overlay.colours for overlay in overlays}
    for task, answer in answers.items():
        if task in colours:
            text.shares(task, answer["shares"], colours[task])
        else:
            text.answer(task, answer["class"], answer["probability"])
    sheet = Image.new("RGB", (width, area[1] + text.height + 3 * _MARGIN), PAPER)
    left = (width - area[0]) // 2
    for number, panel in enumerate(panels):
        along = number * step
        sheet.paste(panel, (left + along, _MARGIN) if beside else (left, _MARGIN + along))
    text.draw(sheet, area[1] + 2 * _MARGIN)
    return sheet


def _shown(size: tuple[int, int]) -> tuple[int, int]:
    """Return width and height at which a picture is shown."""
    scale = min(_LONGEST / max(size), max(1, _SHORTEST / min(size)))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _covered(picture: Image.Image, overlay: Overlay) -> Image.Image:
    table = np.zeros((256, 3), np.uint8)
    table[: len(overlay.colours)] = np.array(overlay.colours, np.uint8)
    # A mask is resized before it is painted: large pictures would take their size in RGB again.
    mask = Image.fromarray(overlay.mask).resize(picture.size, Image.Resampling.NEAREST)
    return Image.blend(picture, Image.fromarray(table[np.asarray(mask)]), _OPACITY)


class _Text:
    """The lines below a picture, laid out before there is a sheet.

    Args:
        width: Width of the sheet.
    """

    def __init__(self, width: int) -> None:
        self._room = width - 2 * _MARGIN
        self.height = 0
        self._items: list[tuple[str, tuple[Any, ...]]] = []

    def answer(self, task: str, name: str, probability: float) -> None:
        """Add the class of a scene task: a line of its own for a name that is too long."""
        self._heading(task)
        number = f"{probability:.1%}"
        room = self._room - _BAR_WIDTH - 70
        lines = wrap(name, typeface(17, bold=True), room)
        for position, line in enumerate(lines):
            self._add("name", _MARGIN, line)
            if position == 0:
                self._add("bar", self._room + _MARGIN, number, probability)
            self.height += _LINE

    def shares(self, task: str, shares: Mapping[str, float], colours: Sequence[Colour]) -> None:
        """Add the classes of a segmentation task, the largest first, side by side."""
        self._heading(task)
        font, x = typeface(14), 0
        found = [(share, name, c) for (name, share), c in zip(shares.items(), colours, strict=True)]
        for share, name, colour in sorted(found, key=lambda item: -item[0]):
            if share < _SEEN:
                continue
            room = self._room - CHIP - 8
            label = wrap(f"{share:.0%} {name}", font, room)[0]
            wide = int(font.getlength(label)) + CHIP + 8
            if x and x + wide > self._room:
                x, self.height = 0, self.height + _LINE
            self._add("chip", _MARGIN + x, label, colour)
            x += wide + 16
        self.height += _LINE

    def draw(self, sheet: Image.Image, top: int) -> None:
        """Draw all lines, from a height on."""
        pen = ImageDraw.Draw(sheet)
        for kind, (y, x, label, *more) in self._items:
            y += top
            if kind == "heading":
                pen.text((x, y), label, FAINT, typeface(13))
            elif kind == "name":
                pen.text((x, y - 1), label, INK, typeface(17, bold=True))
            elif kind == "chip":
                chip(pen, x, y, more[0])
                pen.text((x + CHIP + 8, y - 1), label, INK, typeface(14))
            else:
                _draw_bar(pen, x, y, label, more[0])

    def _heading(self, task: str) -> None:
        if self._items:
            self.height += 6
        self._add("heading", _MARGIN, wrap(task, typeface(13), self._room)[0])
        self.height += 18

    def _add(self, kind: str, x: int, label: str, *more: Any) -> None:
        self._items.append((kind, (self.height, x, label, *more)))


def _draw_bar(pen: ImageDraw.ImageDraw, right: int, y: int, label: str, share: float) -> None:
    left = right - _BAR_WIDTH
    pen.rectangle((left, y + 5, right, y + 13), _BAR_PAPER)
    if share > 0:
        pen.rectangle((left, y + 5, left + round(_BAR_WIDTH * share), y + 13), _BAR)
    font = typeface(15)
    pen.text((left - 8 - font.getlength(label), y), label, INK, font)

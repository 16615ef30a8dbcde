"""Text in pictures: the font, and names broken into lines."""

import re
from functools import lru_cache
from pathlib import Path

import matplotlib
from PIL import ImageFont

Typeface = ImageFont.FreeTypeFont


@lru_cache
def typeface(size: int, bold: bool = False) -> Typeface:
    """Return the font of this size."""
    # Pillow's own font has Latin letters only.
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name), size)


def wrap(text: str, font: Typeface, width: int) -> list[str]:
    """Break a name into lines no wider than ``width``: between words if possible.

    Words end at spaces, underscores, hyphens and before a capital letter. Together the lines are
    the text.
    """
    words = re.findall(r".+?(?:[\s_\-/]+|(?<=[a-z0-9])(?=[A-Z])|$)", text, re.DOTALL) or [text]
    lines = [""]
    for word in words:
        if lines[-1] and font.getlength((lines[-1] + word).rstrip()) > width:
            lines.append("")
        for letter in word:
            if lines[-1] and font.getlength((lines[-1] + letter).rstrip()) > width:
                lines.append("")
            lines[-1] += letter
    return lines

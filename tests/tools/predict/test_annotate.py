"""Annotated copies: how large they are, what is laid over them, and that all text has room."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tools.predict.annotate import Overlay, annotated
from tools.predict.legend import PAPER, Legend

COLOURS = [(200, 0, 0), (0, 0, 200)]


@pytest.mark.parametrize(
    ("size", "shown"),
    [((20, 20), (256, 256)), ((400, 300), (400, 300)), ((3000, 1500), (768, 384))],
)
def test_a_picture_is_shown_at_a_readable_size(
    size: tuple[int, int], shown: tuple[int, int]
) -> None:
    copy = annotated(
        Image.new("RGB", size, (9, 200, 9)), {"a": {"class": "x", "probability": 0.5}}, []
    )
    pixels = np.asarray(copy)
    green = (pixels == (9, 200, 9)).all(-1)
    rows, columns = np.flatnonzero(green.any(1)), np.flatnonzero(green.any(0))
    assert (columns[-1] - columns[0] + 1, rows[-1] - rows[0] + 1) == shown
    assert copy.width >= 340 and copy.height < shown[1] + 120


@pytest.mark.parametrize("size", [(300, 300), (700, 100)])
def test_masks_are_laid_over_a_second_picture(size: tuple[int, int]) -> None:
    mask = np.zeros(size[::-1], np.uint8)
    mask[:, size[0] // 2 :] = 1
    picture = Image.new("RGB", size, (100, 100, 100))
    shares = {"water": 0.5, "wood": 0.5}
    copy = annotated(picture, {"m": {"shares": shares}}, [Overlay("m", mask, COLOURS)])
    found = np.asarray(copy).reshape(-1, 3).astype(int)
    # Half red, half blue, and the picture itself.
    for colour, share in (((150, 50, 50), 0.5), ((50, 50, 150), 0.5), ((100, 100, 100), 1.0)):
        assert (np.abs(found - colour) <= 1).all(-1).sum() >= share * mask.size


def test_long_names_stay_on_the_sheet() -> None:
    """However long they are, the margin stays free."""
    long = "dense residential buildings and " * 6 + "x" * 80
    tasks: dict[str, dict[str, Any]] = {
        "t" * 90: {"class": long, "probability": 0.25},
        "m": {"shares": {long: 0.6, "b": 0.396, "unseen": 0.004}},
    }
    mask = np.zeros((40, 40), np.uint8)
    picture = Image.new("RGB", (40, 40))
    copy = annotated(picture, tasks, [Overlay("m", mask, [*COLOURS, (0, 90, 0)])])
    pixels = np.asarray(copy)
    for edge in (pixels[:, :10], pixels[:, -10:], pixels[-8:]):
        assert (edge == PAPER).all()
    assert not ((pixels == (0, 90, 0)).all(-1)).any()


def test_a_legend_shows_every_colour(tmp_path: Path) -> None:
    path = tmp_path / "legend.png"
    Legend("task", ["a", "b " * 40], COLOURS).write_picture(path)
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB"))
    assert all((pixels == colour).all(-1).sum() > 200 for colour in COLOURS)
    assert (pixels[:, -8:] == PAPER).all()

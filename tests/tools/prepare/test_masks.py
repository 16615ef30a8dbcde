"""Masks become positions in a list of classes, turned and resized as their pictures are."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.tools.data_sets import bands_tiff, encoded, picture
from tools.prepare.images import make
from tools.prepare.masks import Lookup, make_mask, read_lookup
from tools.prepare.recipe import Recipe
from train.errors import UserError

COLOURS = Lookup("m", ("road", "tree"), True, (0x000000, 0x00FF00, 0xFF0000), (255, 1, 0))
INDEX = Lookup("m", ("road", "tree"), False, (0, 3, 9), (0, 1, 255))


def stored(data: bytes, lookup: Lookup, size: tuple[int, int], **options: Any) -> np.ndarray:
    options = {"orientation": 1, "target": size, **options}
    mask = make_mask(Path("m.png"), data, lookup, size, **options)
    with Image.open(io.BytesIO(mask.data)) as image:
        assert image.mode == "L" and image.format == "PNG"
        values = np.array(image)
    counts = np.bincount(values.ravel(), minlength=256)
    assert mask.counts == (*counts[: len(lookup.classes)], counts[255])
    return values


@pytest.mark.parametrize("mode", ["L", "P", "I;16", "PackBits"])
def test_index(mode: str) -> None:
    values = np.array([[0, 3, 9], [9, 3, 0]], np.uint16 if mode == "I;16" else np.uint8)
    image = Image.fromarray(values)
    if mode == "P":
        # The colours are of no account, even where they are all the same.
        image.putpalette([7] * 768)
    form = "TIFF" if mode == "PackBits" else "PNG"
    data = encoded(image, form, **({"compression": "packbits"} if form == "TIFF" else {}))
    assert stored(data, INDEX, (3, 2)).tolist() == [[0, 1, 255], [255, 1, 0]]


@pytest.mark.parametrize("mode", ["RGB", "P"])
def test_colours(mode: str) -> None:
    pixels = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 0], [255, 0, 0]]], np.uint8)
    image = Image.fromarray(pixels)
    if mode == "P":
        image = image.convert("P", palette=Image.Palette.ADAPTIVE, colors=3)
    assert stored(encoded(image, "PNG"), COLOURS, (2, 2)).tolist() == [[0, 1], [255, 0]]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("size", [None, 16, 100])
def test_turned_and_resized_as_the_picture(orientation: int, size: int | None) -> None:
    # Blocks whose class can be told from the picture: red is road, everything else has no class.
    rng = np.random.default_rng(orientation)
    blocks = rng.integers(0, 2, (5, 8), np.uint8).repeat(8, 0).repeat(8, 1)
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels = np.stack([blocks * 255, blocks * 0, blocks * 0], -1)
    made = make(encoded(Image.fromarray(pixels), "PNG", exif=exif), Recipe("png", 95, size))
    mask = make_mask(
        Path("m.png"),
        encoded(Image.fromarray((1 - blocks) * np.uint8(9)), "PNG"),
        INDEX,
        made.original,
        made.orientation,
        (made.width, made.height),
    )
    red = np.array(Image.open(io.BytesIO(made.data)))[..., 0].astype(int)
    values = np.array(Image.open(io.BytesIO(mask.data)))
    # Nothing in between, as interpolation would make.
    assert set(values.ravel().tolist()) == {0, 255}
    road = values == 0
    sure = (red < 60) | (red > 195)
    assert sure.mean() > 0.7
    assert (road == (red > 127))[sure].all()


def test_own_orientation_counts_before_that_of_the_picture() -> None:
    exif = Image.Exif()
    exif[0x0112] = 3
    data = encoded(Image.fromarray(np.array([[0, 3]], np.uint8)), "PNG", exif=exif)
    assert stored(data, INDEX, (2, 1), orientation=2).tolist() == [[1, 0]]
    assert stored(data, INDEX, (2, 1), orientation=1).tolist() == [[1, 0]]


def grey(values: list[list[int]]) -> Image.Image:
    return Image.fromarray(np.array(values, np.uint8))


WRONG: dict[str, tuple[bytes, Lookup, str]] = {
    "value": (encoded(grey([[0, 0], [0, 7]]), "PNG"), INDEX, "value 7 at column 1, row 1"),
    "colour": (
        encoded(Image.new("RGB", (2, 2), (1, 2, 3)), "PNG"),
        COLOURS,
        "colour #010203 at column 0, row 0",
    ),
    "size": (encoded(grey([[0, 0]]), "PNG"), INDEX, "2x1 pixels, but its picture has 2x2"),
    "bands": (bands_tiff(np.zeros((2, 2, 13), np.uint16)), INDEX, "13 bands .* has one"),
    "jpeg": (encoded(grey([[0, 0], [0, 0]]), "JPEG"), INDEX, "must not be a JPEG"),
    "colours for index": (encoded(picture(1, (2, 2)), "PNG"), INDEX, "mode RGB"),
    "numbers for colours": (
        encoded(Image.fromarray(np.zeros((2, 2), np.uint16)), "PNG"),
        COLOURS,
        "mode I;16",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_masks(case: str) -> None:
    data, lookup, message = WRONG[case]
    with pytest.raises(UserError, match=message) as caught:
        make_mask(Path("m.png"), data, lookup, (2, 2), 1, (2, 2))
    assert str(caught.value).startswith("m.png: ")


def lookup_of(tmp_path: Path, data: object, *ignored: str) -> Lookup:
    (tmp_path / "c.json").write_text(json.dumps(data))
    return read_lookup("m", tmp_path / "c.json", ignored)


def test_files_of_classes(tmp_path: Path) -> None:
    assert lookup_of(tmp_path, ["a", "b"], "5") == Lookup(
        "m", ("a", "b"), False, (0, 1, 5), (0, 1, 255)
    )
    # In the order of their indices, whatever the order in the file.
    assert lookup_of(tmp_path, {"b": 4, "a": 1}) == Lookup("m", ("a", "b"), False, (1, 4), (0, 1))
    mixed = {"a": "#ff0000", "b": [0, 0, 255]}
    expected = Lookup("m", ("a", "b"), True, (0, 255, 0xFF0000), (255, 1, 0))
    assert lookup_of(tmp_path, mixed, "#000000") == expected


@pytest.mark.parametrize(
    ("data", "ignored", "message"),
    [
        ([], (), "must be a list"),
        (["a", "a"], (), "must be a list"),
        (3, (), "must be a list"),
        ({"a": 1, "b": 1}, (), "b: 1 is a already"),
        ({"a": 1, "b": "#fff"}, (), "b: '#fff' must be a whole number"),
        ({"a": "#12", "b": "#fff"}, (), "a: '#12' must be a colour"),
        ({"a": [1, 2, 256]}, (), "a: .* must be a colour"),
        ({"a": -1}, (), "a: -1 must be a whole number"),
        (["a"], ("#ffffff",), "--ignore #ffffff: .* must be a whole number"),
        ({"a": "#ffffff"}, ("0",), "--ignore 0: 0 must be a colour"),
        (["a", "b"], ("1",), "--ignore 1: is class 'b'"),
    ],
)
def test_mistakes_in_files_of_classes(
    data: object, ignored: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=message):
        lookup_of(tmp_path, data, *ignored)
    (tmp_path / "c.json").write_text("{")
    with pytest.raises(UserError, match="cannot be read as JSON"):
        read_lookup("m", tmp_path / "c.json", ignored)
    with pytest.raises(UserError, match="No such file"):
        read_lookup("m", tmp_path / "none.json", ignored)

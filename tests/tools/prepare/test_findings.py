"""What prepare says of pictures, masks and tables that are probably not what one thinks."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.tools.commands import Tools
from tests.tools.data_sets import bands_tiff, manifest_json, picture, rows_of, write_csv
from tools.prepare import decode


def deep(root: Path, factor: int, low: int = 0) -> Path:
    """16-bit pictures in two classes, with values from ``low`` to ``low + 255 * factor``."""
    for name in "ab":
        (root / name).mkdir(parents=True)
        for number in range(5):
            grey = np.asarray(picture(number + 10 * ord(name)).convert("L"), np.uint16)
            Image.fromarray(grey * np.uint16(factor) + np.uint16(low)).save(
                root / name / f"{number}.tif"
            )
    return root


def test_16_bits_of_which_a_fraction_is_used(tools: Tools, tmp_path: Path) -> None:
    source = deep(tmp_path / "src", 8, low=100)
    arguments = ("prepare", source, "--format", "png", "--workers", 1, "--out")
    result = tools(*arguments, tmp_path / "out")
    assert result.code == 0 and "10 picture(s) of 16 bits use about" in result.out
    low, high = (int(n) for n in result.out.split("--range ")[1].split()[0].split(","))
    assert 100 <= low < 400 and 1700 < high <= 2140
    assert max(manifest_json(tmp_path / "out")["mean"]) < 0.05

    scaled = tools(*arguments, tmp_path / "scaled", "--range", "100,2140")
    assert scaled.code == 0 and "16 bits" not in scaled.out
    assert 0.3 < min(manifest_json(tmp_path / "scaled")["mean"]) < 0.7
    # It belongs to what the data set was made with.
    tools(*arguments, tmp_path / "scaled").assert_error("--range null (was [100.0, 2140.0])")


def test_range_without_anything_to_scale(source: Path, tools: Tools, tmp_path: Path) -> None:
    result = tools("prepare", source, "--out", tmp_path / "out", "--range", "0,3000")
    assert result.code == 0 and "--range: no picture has more than 8 bits" in result.out


def test_16_bits_that_are_used(tools: Tools, tmp_path: Path) -> None:
    source = deep(tmp_path / "src", 257)
    result = tools("prepare", source, "--out", tmp_path / "out", "--workers", 1)
    assert result.code == 0 and "warning" not in result.out


@pytest.mark.parametrize("alpha", ["graded", "on or off"])
def test_fourth_band_taken_for_transparency(alpha: str, tools: Tools, tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / "src" / name).mkdir(parents=True)
        for number in range(5):
            image = picture(number + 10 * ord(name))
            fourth = picture(number).convert("L")
            if alpha == "on or off":
                fourth = fourth.point(lambda value: 255 * (value > 128))
            image.putalpha(fourth)
            image.save(tmp_path / "src" / name / f"{number}.png")
    arguments = ("prepare", tmp_path / "src", "--workers", 1, "--format", "png", "--out")
    result = tools(*arguments, tmp_path / "out")
    assert result.code == 0
    assert ("10 picture(s) with a fourth band taken for" in result.out) == (alpha == "graded")
    plain = tools(*arguments, tmp_path / "plain", "--bands", "1,2,3")
    assert plain.code == 0 and "warning" not in plain.out
    assert manifest_json(tmp_path / "plain")["mean"] != manifest_json(tmp_path / "out")["mean"]


@pytest.fixture
def masked(source: Path, tmp_path: Path) -> Path:
    """Masks of "source" whose pixels are mostly 0 in field, 1 in town and 2 in water."""
    for file in source.rglob("*.png"):
        values = np.full((10, 12), sorted(("field", "town", "water")).index(file.parent.name))
        values[0, :3] = (0, 1, 2)
        path = tmp_path / "masks" / file.relative_to(source)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(values.astype(np.uint8)).save(path)
    return tmp_path / "masks"


NAMES = {
    "right": (["field", "town", "water"], ()),
    "other words": (["Field", "asphalt", "Water"], ()),
    "wrong order": (
        ["water", "field", "town"],
        ("'field' are mostly 'water' (10 of 10)", "right order?"),
    ),
    "two swapped": (["town", "field", "water"], ("'field' are mostly 'town'",)),
    "one too many": (["field", "town", "water", "road"], ("no pixel of 'road'",)),
}


@pytest.mark.parametrize("case", NAMES)
def test_masks_against_classes(
    case: str, source: Path, masked: Path, tools: Tools, tmp_path: Path
) -> None:
    names, parts = NAMES[case]
    (tmp_path / "c.json").write_text(json.dumps(names))
    options = ["--masks", masked, "--mask-classes", tmp_path / "c.json", "--workers", 1]
    result = tools("prepare", source, "--out", tmp_path / "out", *options)
    assert result.code == 0
    for part in parts:
        assert part in result.out
    if not parts:
        assert "warning" not in result.out


def test_class_of_masks_that_hardly_occurs(tools: Tools, tmp_path: Path) -> None:
    for number in range(5):
        for folder, image in {
            "src": picture(number, (64, 64)),
            "masks": Image.new("L", (64, 64)),
        }.items():
            (tmp_path / folder).mkdir(exist_ok=True)
            if folder == "masks" and number == 0:
                image.putpixel((3, 3), 1)
            image.save(tmp_path / folder / f"{number}.png")
    (tmp_path / "c.json").write_text('["land", "road"]')
    options = ["--masks", tmp_path / "masks", "--mask-classes", tmp_path / "c.json"]
    result = tools("prepare", tmp_path / "src", "--out", tmp_path / "out", *options)
    assert "hardly a pixel (share of all) of 'road' (4.9e-05)" in result.out


def test_all_wrong_colours_at_once(tools: Tools, tmp_path: Path) -> None:
    for folder in ("src", "masks"):
        (tmp_path / folder).mkdir()
    for number in range(6):
        picture(number).save(tmp_path / "src" / f"{number}.png")
        mask = Image.new("RGB", (12, 10), (0, 0, 255))
        if number > 1:
            mask.putpixel((number, 1), (number, 0, 0))
            mask.putpixel((11, 9), (0, 255, 0))
        mask.save(tmp_path / "masks" / f"{number}.png")
    (tmp_path / "c.json").write_text('{"water": "#0000ff"}')
    options = ["--masks", tmp_path / "masks", "--mask-classes", tmp_path / "c.json"]
    # In whatever process they were found.
    for workers in (1, 2):
        result = tools(
            "prepare", tmp_path / "src", "--out", tmp_path / "out", *options, "--workers", workers
        )
        result.assert_error(
            "5 colours are no class of 'mask': #00ff00 (4 masks; ",
            *("masks/2.png at column 11, row 9", "#020000 (1 masks", "#050000"),
            "--ignore",
        )


def test_a_column_of_masks(source: Path, masked: Path, tools: Tools, tmp_path: Path) -> None:
    keys = sorted(path.relative_to(source).as_posix() for path in source.rglob("*.png"))
    rows = [(key, key.split("/")[0], f"../masks/{key}", "2020") for key in keys]
    table = write_csv(tmp_path / "t.csv", rows, "Path,label,mask_cover,year")
    (tmp_path / "c.json").write_text('["field", "town", "water"]')
    arguments = ["prepare", source, "--out", tmp_path / "out", "--table", table, "--workers", 1]
    tools(*arguments).assert_error("t.csv: column mask_cover", "--mask-classes cover=FILE")
    arguments += ["--mask-classes", f"cover={tmp_path / 'c.json'}"]
    result = tools(*arguments)
    assert result.code == 0 and "t.csv that are not read: year" in result.out
    assert rows_of(tmp_path / "out")[0]["mask_cover_file"].startswith("../masks/field/")
    again = tools(*arguments)
    assert again.code == 0 and "already there" in again.out
    (masked / "town" / "town_02.png").unlink()
    tools(*arguments, "--overwrite").assert_error("t.csv, line 14", "masks/town/town_02.png")
    tools(*arguments, "--masks", f"cover={masked}").assert_error("has a column mask_cover too")


def test_only_what_changed_is_decoded_again(
    source: Path, tools: Tools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(1, 9):
        picture(number).save(source / "town" / f"copy_{number}.bmp")
    arguments = ["prepare", source, "--workers", 1, "--out"]
    tools(*arguments, tmp_path / "out").assert_error("look the same", "out.decoded")
    decoded: list[str] = []
    take = decode._take

    def watched(recipe: object, lookups: object, path: Path, *masks: Path) -> object:
        decoded.append(path.name)
        return take(recipe, lookups, path, *masks)  # type: ignore[arg-type]

    monkeypatch.setattr(decode, "_take", watched)
    picture(99).save(source / "field" / "field_03.png")
    picture(98).save(source / "a_new.png")
    (source / "a_new.png").rename(source / "field" / "a_new.png")
    assert tools(*arguments, tmp_path / "out", "--duplicates", "together").code == 0
    assert decoded == ["a_new.png", "field_03.png"]
    # The same as without help, byte for byte.
    assert tools(*arguments, tmp_path / "whole", "--duplicates", "together").code == 0
    table = (tmp_path / "out" / "records.csv").read_bytes()
    assert table == (tmp_path / "whole" / "records.csv").read_bytes()
    assert tools("verify", tmp_path / "out", "--workers", 1).code == 0


def test_other_options_decode_all_again(source: Path, tools: Tools, tmp_path: Path) -> None:
    for number in range(1, 9):
        picture(number).save(source / "town" / f"copy_{number}.bmp")
    arguments = ["prepare", source, "--workers", 1, "--out", tmp_path / "out"]
    tools(*arguments).assert_error("look the same")
    assert tools(*arguments, "--duplicates", "allow", "--size", 8).code == 0
    assert {row["height"] for row in rows_of(tmp_path / "out")} == {"8"}
    assert not (tmp_path / "out.decoded").exists()


def test_13_bands(source: Path, tools: Tools, tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 3000, (10, 12, 13)).astype(np.uint16)
    (source / "town" / "ms.tif").write_bytes(bands_tiff(values))
    result = tools("prepare", source, "--out", tmp_path / "out", "--workers", 2)
    # One line: Pillow's log does not come through from other processes (here pytest takes it).
    result.assert_error(
        "1 unreadable picture: town/ms.tif (13 bands of 16-bit whole numbers", "--bands 4,3,2"
    )
    for file in source.rglob("*.png"):
        file.with_suffix(".tif").write_bytes(bands_tiff(np.roll(values, len(str(file)) % 9)))
        file.unlink()
    options = ["--bands", "4,3,2", "--duplicates", "allow", "--workers", 1]
    result = tools("prepare", source, "--out", tmp_path / "out", *options)
    assert result.code == 0 and "use about" in result.out
    options += ["--range", "0,3000"]
    assert tools("prepare", source, "--out", tmp_path / "b", *options).code == 0
    assert 0.4 < min(manifest_json(tmp_path / "b")["mean"]) < 0.6


TABLES_OF_EXCEL = {
    "mark before the first name": (b"\xef\xbb\xbf", "utf-8"),
    "Chinese": (b"", "gbk"),
    "wide letters": (b"\xff\xfe", "utf-16-le"),
}


@pytest.mark.parametrize("case", TABLES_OF_EXCEL)
def test_tables_as_excel_saves_them(case: str, source: Path, tools: Tools, tmp_path: Path) -> None:
    mark, encoding = TABLES_OF_EXCEL[case]
    keys = sorted(path.relative_to(source).as_posix() for path in source.rglob("*.png"))
    names = {"field": "田", "town": "城", "water": "水"}
    lines = ["path,label", *(f"{key},{names[key.split('/')[0]]}" for key in keys)]
    (tmp_path / "t.csv").write_bytes(mark + "\r\n".join(lines).encode(encoding))
    arguments = ["prepare", source, "--out", tmp_path / "out", "--table", tmp_path / "t.csv"]
    result = tools(*arguments, "--workers", 1)
    if encoding == "utf-8":
        assert result.code == 0 and "城" in result.out
    else:
        result.assert_error("t.csv: not a CSV in UTF-8 (Excel: save as 'CSV UTF-8')")

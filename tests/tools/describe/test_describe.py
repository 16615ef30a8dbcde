"""``python -m tools describe``: what it prints and draws of prepared data sets."""

import json
import shutil
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.tools.commands import Tools
from tools.__main__ import main
from tools.common.lettering import typeface, wrap
from tools.describe.mask_colours import NO_CLASS, palette
from tools.describe.report import Class, bare, shared

# Class: colour of its pictures, number of pictures.
LAND = {
    "Overpass": ((200, 40, 40), 5),
    "parking_lot": ((40, 200, 40), 10),
    "StorageTanks": ((40, 40, 200), 5),
}
OTHER = {"viaduct": ((90, 90, 90), 5), "storage tank": ((220, 220, 40), 5)}
COVER = ["water", "field", "road"]


def paint_set(folder: Path, classes: dict[str, tuple[tuple[int, int, int], int]]) -> Path:
    """Pictures of one colour for each class, a little darker from one to the next."""
    for name, (colour, count) in classes.items():
        (folder / name).mkdir(parents=True)
        for number in range(count):
            shade = tuple(value - number for value in colour)
            Image.new("RGB", (20, 16), shade).save(folder / name / f"{number}.png")
    return folder


def masks_for(pictures: Path, masks: Path) -> Path:
    """Left half water; right half field, road or without a class, from one to the next."""
    for number, path in enumerate(sorted(pictures.rglob("*.png"))):
        mask = np.zeros((16, 20), np.uint8)
        mask[:, 10:] = (1, 2, 9)[number % 3]
        # One pixel does not make a picture of it.
        mask[0, 10] = 2 if number == 0 else mask[0, 10]
        target = masks / path.relative_to(pictures)
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(mask).save(target)
    return masks


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Prepared: two with scene classes, one with scenes and masks, one with masks only."""
    root = tmp_path_factory.mktemp("sets")
    land, other = paint_set(root / "land", LAND), paint_set(root / "other", OTHER)
    masks = masks_for(land, root / "masks")
    flat = root / "flat"
    flat.mkdir()
    for path in sorted(land.rglob("*.png")):
        shutil.copy(path, flat / f"{path.parent.name}{path.name}")
    flat_masks = masks_for(flat, root / "flat_masks")
    (root / "cover.json").write_text(json.dumps(COVER))
    table = root / "flat.csv"
    rows = [
        f"{path.name},{'val' if path.stem.endswith('4') else 'train'}" for path in flat.iterdir()
    ]
    table.write_text("\n".join(["path,split", *sorted(rows)]) + "\n")
    cover = ["--mask-classes", f"cover={root / 'cover.json'}", "--ignore", "cover=9"]
    made: dict[str, list[object]] = {
        "land": [land],
        "other": [other],
        "both": [land, "--masks", f"cover={masks}", *cover],
        "cover": [flat, "--masks", f"cover={flat_masks}", *cover, "--table", table],
    }
    for name, arguments in made.items():
        options = ["--format", "png", "--workers", "1", "--duplicates", "allow"]
        out = ["--out", str(root / "records" / name)]
        given = [str(argument) for argument in arguments]
        assert main(["prepare", *given, *out, *options]) == 0
    return {name: root / "records" / name for name in made}


def test_tables_and_shared_classes(sets: dict[str, Path], tools: Tools, tmp_path: Path) -> None:
    result = tools("describe", *sets.values(), "--no-sheet")
    assert result.code == 0, result.err
    text = " ".join(result.out.split())
    assert "20 images, 20 x 16 pixels, stored as PNG" in text
    assert "3 scene classes; imbalance in train 2.0 (parking_lot 6 : Overpass 3)" in text
    assert "total Overpass 3 1 1 5 StorageTanks 3 1 1 5 parking_lot 6 2 2 10 total 12 4" in text
    assert "2 scene classes; imbalance in train 1.0 (3 each)" in text
    # In the 17 train pictures half is water; of the rest 6 are field, 6 road, 5 nothing.
    assert "water 50.0% 50.0% field 17.6% 16.7% road 17.7% 16.7%" in text
    assert "(no class) 14.7% 16.7%" in text
    same, probable = result.out.split("Classes of the same name")[1].split("Probably the same")
    assert "storagetank  land: StorageTanks, other: storage tank, both: StorageTanks" in same
    assert "water        both/cover: water, cover/cover: water" in same
    assert "overpass ~ viaduct  land: Overpass, both: Overpass, other: viaduct" in probable


def test_rows_show_their_own_class(sets: dict[str, Path], tools: Tools, tmp_path: Path) -> None:
    path = tmp_path / "sheet.png"
    result = tools("describe", sets["land"], "--out", path, "--images", 3)
    assert result.code == 0, result.err
    assert f"contact sheet: {path}" in result.out and list(tmp_path.iterdir()) == [path]
    with Image.open(path) as sheet:
        pixels = np.asarray(sheet.convert("RGB"), np.int32)
    tops = []
    for _, (colour, _) in sorted(LAND.items()):
        near = np.abs(pixels - np.array(colour) + 4).max(axis=-1) <= 6
        # Three tiles of 96 x 77 pixels: the pictures keep their shape.
        assert near.sum() == 3 * 96 * 77
        tops.append(int(np.argwhere(near)[0][0]))
    assert tops == sorted(tops) and tops[1] - tops[0] > 90
    shades = {tuple(value) for value in pixels.reshape(-1, 3).tolist()}
    assert len([s for s in shades if 30 <= s[0] <= 40 and s[1] > 180]) == 3, "three different ones"


def test_masks_stand_beside_their_images(
    sets: dict[str, Path], tools: Tools, tmp_path: Path
) -> None:
    assert tools("describe", sets["both"], sets["cover"], "--out", tmp_path / "sheets").code == 0
    colours = palette(COVER)
    for name in ("both", "cover"):
        with Image.open(tmp_path / "sheets" / f"{name}.png") as sheet:
            found = {c: n for n, c in sheet.convert("RGB").getcolors(1 << 24) or []}
        # Far more than the 16 x 16 pixels of the legend.
        for colour in (*colours, NO_CLASS):
            assert found.get(colour, 0) > 2000, (name, colour)


def test_masks_have_the_colours_that_the_user_gave_them(tools: Tools, tmp_path: Path) -> None:
    """And what has no class has none like them: here one is nearly the usual black."""
    given = {"water": "#e01020", "field": "#2a2a2e", "road": [20, 200, 210]}
    own = [(0xE0, 0x10, 0x20), (0x2A, 0x2A, 0x2E), (20, 200, 210)]
    land = paint_set(tmp_path / "land", LAND)
    masks = masks_for(land, tmp_path / "masks")
    for path in masks.rglob("*.png"):
        table = np.zeros((256, 3), np.uint8)
        table[:3], table[9] = own, (255, 255, 255)
        Image.fromarray(table[np.asarray(Image.open(path))]).save(path)
    (tmp_path / "cover.json").write_text(json.dumps(given))
    made = tools(
        *("prepare", land, "--out", tmp_path / "rec", "--masks", masks, "--ignore", "#ffffff"),
        *("--mask-classes", tmp_path / "cover.json", "--duplicates", "allow", "--workers", 1),
    )
    assert made.code == 0, made.err
    assert tools("describe", tmp_path / "rec", "--out", tmp_path / "sheet.png").code == 0
    with Image.open(tmp_path / "sheet.png") as sheet:
        found = {c: n for n, c in sheet.convert("RGB").getcolors(1 << 24) or []}
    for colour in (*own, (128, 128, 130)):
        assert found.get(colour, 0) > 2000, colour
    assert NO_CLASS not in found


def test_rows_of_masks_show_their_class(sets: dict[str, Path]) -> None:
    from tools.describe.samples import samples
    from train.data.manifest import Manifest

    rows = samples(sets["cover"], Manifest.read(sets["cover"]), 2, seed=0)
    assert [len(row) for row in rows] == [2, 2, 2]
    for label, row in enumerate(rows):
        assert all((sample.masks[0] == label).mean() > 0.4 for sample in row)


def test_seed_chooses(sets: dict[str, Path], tools: Tools, tmp_path: Path) -> None:
    def drawn(name: str, seed: int) -> bytes:
        path = tmp_path / f"{name}.png"
        arguments = ("--images", 2, "--seed", seed, "--out", path)
        assert tools("describe", sets["land"], *arguments).code == 0
        with Image.open(path) as sheet:
            # Without the title, which tells the seed.
            return sheet.crop((0, 100, sheet.width, sheet.height)).tobytes()

    first = drawn("a", 0)
    assert first == drawn("b", 0)
    assert any(drawn(f"c{seed}", seed) != first for seed in range(1, 4))


def test_mistakes(sets: dict[str, Path], tools: Tools, tmp_path: Path) -> None:
    land, other = sets["land"], sets["other"]
    tools("describe", tmp_path / "none").assert_error("no such folder", "tools prepare")
    tools("describe", tmp_path).assert_error("not a prepared data set")
    one_file = ("--out", tmp_path / "a.png")
    tools("describe", land, other, *one_file).assert_error("one file for 2 data sets")
    tools("describe", land, "--images", 0).assert_error("--images 0", "1..100")
    (tmp_path / "file").write_text("")
    tools("describe", land, "--out", tmp_path / "file").assert_error("file: cannot be made")
    damaged = tmp_path / "damaged"
    shutil.copytree(land, damaged)
    shard = damaged / "train.mindrecord0"
    data = bytearray(shard.read_bytes())
    data[data.index(b"IHDR") + 20] ^= 0xFF
    shard.write_bytes(data)
    tools("describe", damaged, *one_file).assert_error("damaged", "train.mindrecord0")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["damaged", "file"]


def test_data_sets_of_one_name_have_their_own_sheets(
    sets: dict[str, Path], tools: Tools, tmp_path: Path
) -> None:
    shutil.copytree(sets["land"], tmp_path / "copy")
    arguments = (sets["land"], tmp_path / "copy", "--images", 1, "--out", tmp_path / "out")
    assert tools("describe", *arguments).code == 0
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["land-2.png", "land.png"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("parking_lot", "parkinglot"),
        ("ParkingLot", "parkinglot"),
        ("Parking Lots", "parkinglot"),
        ("storage-tanks", "storagetank"),
        ("Cities", "city"),
        ("beaches", "beach"),
        ("grass", "grass"),
        ("Bus", "bus"),
        ("STRASSE", "strasse"),
        ("Straße", "strasse"),
    ],
)
def test_names_that_are_the_same(name: str, expected: str) -> None:
    assert bare(name) == expected


def test_groups_tell_something() -> None:
    own = [Class("a", "a", "water"), Class("a", "a/cover", "water")]
    assert shared(own) == ({}, {})
    twice = [Class("a", "a", "Ship"), Class("a", "a", "ships")]
    assert shared(twice)[0] == {"ship": twice}
    port, harbor = Class("a", "a", "Port"), Class("b", "b", "harbors")
    assert shared([port, harbor]) == ({}, {"harbor ~ port": [harbor, port]})


@pytest.mark.parametrize(
    "name",
    ["x", "thermal_power_station", "MediumResidentialArea", "W" * 60, "a b", "土地" * 30, "__"],
)
def test_no_name_is_cut_off(name: str) -> None:
    lines = wrap(name, typeface(16), 166)
    assert "".join(lines) == name
    assert all(typeface(16).getlength(line.rstrip()) <= 166 for line in lines)


def test_colours_can_be_told_apart() -> None:
    names = [*COVER, "forest", "lake", "river", "pond", "farmland", *map(str, range(24))]
    colours = [*palette(names), NO_CLASS]
    assert len(colours) == len(names) + 1
    least = min(np.abs(np.subtract(a, b)).max() for a, b in combinations(colours, 2))
    assert least >= 20
    water, field, road = palette(COVER)
    assert water[2] > max(water[:2]) and min(field[:2]) > field[2] and len(set(road)) < 3

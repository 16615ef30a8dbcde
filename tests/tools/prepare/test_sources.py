"""python -m tools prepare: where pictures, classes, splits, groups and masks come from."""

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.tools.commands import Tools
from tests.tools.data_sets import entries, picture, rows_of, write_csv
from tools.common.stored_records import read
from train.data.manifest import Manifest
from train.data.records import NO_LABEL


@pytest.fixture
def by_split(source: Path, tmp_path: Path) -> Path:
    """The pictures of "source" as split/class/file."""
    root = tmp_path / "ready"
    for number, file in enumerate(sorted(source.rglob("*.png"))):
        folder = root / ("train", "Valid", "test")[number % 3] / file.parent.name
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, folder)
    return root


def test_folders_of_splits(by_split: Path, tools: Tools, tmp_path: Path) -> None:
    picture(77).save(by_split / "train" / "loose.png")
    assert tools("prepare", by_split, "--out", tmp_path / "out", "--workers", 1).code == 0
    manifest = Manifest.read(tmp_path / "out")
    assert manifest.classes == ("field", "town", "water")
    assert {name: split.records for name, split in manifest.splits.items()} == {
        "train": 9,
        "val": 8,
        "test": 8,
    }
    for row in rows_of(tmp_path / "out"):
        split, class_name, _ = row["key"].split("/")
        assert row["class"] == class_name
        assert row["split"] == split.lower().replace("valid", "val")
    assert manifest.notes["ignored_files"] == 1
    tools("prepare", by_split, "--out", tmp_path / "o", "--ratios", "1,0,0").assert_error(
        "--ratios 1,0,0", "split already"
    )
    (by_split / "validation").mkdir()
    shutil.copytree(by_split / "train" / "town", by_split / "validation" / "town")
    tools("prepare", by_split, "--out", tmp_path / "o").assert_error("two folders for split val")


def test_table_without_splits(source: Path, tools: Tools, tmp_path: Path) -> None:
    keys = sorted(path.relative_to(source).as_posix() for path in source.rglob("*.png"))
    rows = [(key, key.split("/")[0]) for key in keys]
    out = tmp_path / "out"
    table = write_csv(tmp_path / "t.csv", rows, "path,label")
    assert (
        tools("prepare", source, "--out", out, "--table", table, "--ratios", "0.5,0.3,0.2").code
        == 0
    )
    assert {n: s.per_class for n, s in Manifest.read(out).splits.items()} == {
        "train": (5, 3, 5),
        "val": (3, 1, 3),
        "test": (2, 1, 2),
    }
    # The order of the rows is of no account.
    table = write_csv(tmp_path / "t.csv", [row[::-1] for row in rows[::-1]], "label,path")
    again = tools(
        "prepare", source, "--out", tmp_path / "b", "--table", table, "--ratios", "0.5,0.3,0.2"
    )
    assert again.code == 0 and rows_of(tmp_path / "b") == rows_of(out)


@pytest.mark.parametrize("shuffle", [False, True])
def test_groups_stay_together(shuffle: bool, tools: Tools, tmp_path: Path) -> None:
    rows = []
    (tmp_path / "src").mkdir()
    for number in range(90):
        name = f"{number:02d}.png"
        picture(number).save(tmp_path / "src" / name)
        # Groups of 1 to 15 pictures of both classes; the last pictures have none.
        group = f"g{int(number**0.5)}" if number < 64 else ""
        rows.append((name, "ab"[number % 3 == 0], group))
    if shuffle:
        rows = rows[::-1]
    table = write_csv(tmp_path / "t.csv", rows, "path,label,group")
    out = tmp_path / "out"
    assert tools("prepare", tmp_path / "src", "--out", out, "--table", table).code == 0
    found = rows_of(out)
    splits: dict[str, set[str]] = {}
    for row in found:
        splits.setdefault(row["group"] or row["key"], set()).add(row["split"])
    assert all(len(several) == 1 for several in splits.values())
    assert len(splits) == 8 + 26
    manifest = Manifest.read(out)
    # 60/20/20 of 60 and 30 pictures, exactly: the single ones even out what the groups leave.
    assert {name: split.per_class for name, split in manifest.splits.items()} == {
        "train": (36, 18),
        "val": (12, 6),
        "test": (12, 6),
    }
    # Fixed for good, and in whatever order the table is.
    assert {r["group"] for r in found if r["split"] == "test"} == {"g5", ""}


def test_large_groups_are_placed_first(tools: Tools, tmp_path: Path) -> None:
    """Last, the one of six would go to train beside others, which then is too large."""
    (tmp_path / "src").mkdir()
    rows = []
    for number in range(16):
        picture(number).save(tmp_path / "src" / f"{number:02d}.png")
        group = f"g{number // 2}" if number < 6 else "large" if number < 12 else ""
        rows.append((f"{number:02d}.png", "a" if number < 12 else "b", group))
    table = write_csv(tmp_path / "t.csv", rows, "path,label,group")
    options = ("--out", tmp_path / "out", "--table", table, "--ratios", "0.5,0.25,0.25")
    assert tools("prepare", tmp_path / "src", *options).code == 0
    train = [row for row in rows_of(tmp_path / "out") if row["split"] == "train"]
    assert {row["group"] for row in train} == {"large", ""}


def test_few_groups_leave_no_split_empty(tools: Tools, tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    rows = []
    for number in range(12):
        picture(number).save(tmp_path / "src" / f"{number}.png")
        rows.append((f"{number}.png", "ab"[number % 2], f"g{number // 4}"))
    table = write_csv(tmp_path / "t.csv", rows, "path,label,group")
    groups = []
    for seed in (0, 1):
        out = tmp_path / f"out{seed}"
        options = ("--out", out, "--table", table, "--seed", seed)
        assert tools("prepare", tmp_path / "src", *options).code == 0
        assert [split.records for split in Manifest.read(out).splits.values()] == [4, 4, 4]
        groups.append({row["split"]: row["group"] for row in rows_of(out)})
    # Fixed for good by the seed alone.
    assert groups == [
        {"train": "g0", "val": "g2", "test": "g1"},
        {"train": "g2", "val": "g0", "test": "g1"},
    ]


TABLES: dict[str, tuple[str, list[tuple[str, ...]], tuple[str, ...]]] = {
    "two names": ("path,file,label", [("a", "b", "c")], ("path and file mean the same",)),
    "no path": ("name,label", [("a", "b")], ("no column file or path",)),
    "no label": ("path,split", [("a", "train")], ("no column class or label",)),
    "group in two splits": (
        "path,label,split,group",
        [
            ("field/field_00.png", "field", "train", "g"),
            ("water/water_00.png", "water", "validation", "g"),
        ],
        ("group 'g' is in splits train and val",),
    ),
    "one class": (
        "path,label",
        [("field/field_00.png", "field"), ("field/field_01.png", "field")],
        ("one class only (field)",),
    ),
}


@pytest.mark.parametrize("case", TABLES)
def test_mistakes_in_tables(case: str, source: Path, tools: Tools, tmp_path: Path) -> None:
    header, rows, parts = TABLES[case]
    table = write_csv(tmp_path / "t.csv", rows, header)
    result = tools("prepare", source, "--out", tmp_path / "out", "--table", table)
    result.assert_error("t.csv", *parts)
    assert entries(tmp_path) == ["src", "t.csv"]


@pytest.fixture
def masked(source: Path, tmp_path: Path) -> Path:
    """Masks for "source" in two label spaces: by index with 9 = no class, and by colour."""
    for number, file in enumerate(sorted(source.rglob("*.png"))):
        values = (np.arange(120).reshape(10, 12) + number) % 3
        values[0, :2] = 9
        colours = np.array([[255, 0, 0], [0, 0, 255], [0, 0, 0]], np.uint8)[
            (np.arange(120).reshape(10, 12) + number) % 3
        ]
        for name, pixels in (("cover", values.astype(np.uint8)), ("roads", colours)):
            path = tmp_path / name / file.relative_to(source).with_suffix(".tif")
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path, compression="packbits")
    (tmp_path / "cover.json").write_text(json.dumps(["grass", "soil", "water"]))
    (tmp_path / "roads.json").write_text(json.dumps({"road": "#ff0000", "path": [0, 0, 255]}))
    return tmp_path


def mask_options(root: Path) -> list[object]:
    return [
        *("--masks", f"cover={root / 'cover'}", "--mask-classes", f"cover={root / 'cover.json'}"),
        *("--ignore", "cover=9", "--masks", f"roads={root / 'roads'}"),
        *("--mask-classes", f"roads={root / 'roads.json'}", "--ignore", "roads=#000000"),
    ]


def test_scene_labels_and_two_label_spaces(
    source: Path, masked: Path, tools: Tools, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    result = tools("prepare", source, "--out", out, "--format", "png", *mask_options(masked))
    assert result.code == 0, result.err
    assert "pixels of cover" in result.out and "grass" in result.out
    manifest = Manifest.read(out)
    assert list(manifest.masks) == ["cover", "roads"]
    assert manifest.masks["roads"].classes == ("road", "path")
    keys = sorted(path.relative_to(source).as_posix() for path in source.rglob("*.png"))
    for name, split in manifest.splits.items():
        counted = {space: np.zeros(len(counts), int) for space, counts in split.pixels.items()}
        for record in read(manifest.shard_paths(out, name), list(manifest.masks)):
            number = keys.index(record.key)
            assert manifest.classes[record.label] == record.key.split("/")[0]
            plain = (np.arange(120).reshape(10, 12) + number) % 3
            cover, roads = (np.array(Image.open(io.BytesIO(data))) for data in record.masks)
            assert (cover[0, :2] == 255).all()
            assert (cover.ravel()[2:] == plain.ravel()[2:]).all()
            assert (roads == np.array([0, 1, 255])[plain]).all()
            counted["cover"] += [*(np.sum(cover == v) for v in range(3)), np.sum(cover == 255)]
            counted["roads"] += [np.sum(roads == v) for v in (0, 1, 255)]
        assert {space: tuple(counts) for space, counts in counted.items()} == split.pixels
    assert tools("verify", out, "--workers", 1).code == 0
    assert (
        tools("prepare", source, "--out", out, "--format", "png", *mask_options(masked)).code == 0
    )


def test_masks_alone(source: Path, masked: Path, tools: Tools, tmp_path: Path) -> None:
    flat = tmp_path / "flat"
    (flat / "masks").mkdir(parents=True)
    for file in source.rglob("*.png"):
        shutil.copy(file, flat)
        mask = masked / "cover" / file.relative_to(source).with_suffix(".tif")
        shutil.copy(mask, flat / "masks")
    # The folder of masks may lie in that of the pictures.
    options = ["--masks", flat / "masks", "--mask-classes", masked / "cover.json", "--ignore", "9"]
    out = tmp_path / "out"
    assert tools("prepare", flat, "--out", out, *options).code == 0
    manifest = Manifest.read(out)
    assert manifest.classes == () and list(manifest.masks) == ["mask"]
    assert [split.records for split in manifest.splits.values()] == [15, 5, 5]
    labels = {record.label for record in read(manifest.shard_paths(out, "val"), ["mask"])}
    assert labels == {NO_LABEL}
    assert tools("verify", out, "--workers", 1).code == 0


def remove(path: str) -> Callable[[Path], object]:
    return lambda root: (root / path).unlink()


def save(path: str, image: Image.Image) -> Callable[[Path], object]:
    return lambda root: image.save(root / path)


def options_without(*names: str) -> Callable[[list[object]], list[object]]:
    def change(options: list[object]) -> list[object]:
        return [value for i, value in enumerate(options) if f"{options[i - i % 2]}" not in names]

    return change


MASKS: dict[str, tuple[Callable[[Path], object], list[object], tuple[str, ...]]] = {
    "no mask": (
        remove("cover/field/field_03.tif"),
        [],
        (
            "1 picture(s) without a mask: field/field_03.png",
            "cover/field/field_03.*",
            "--skip-unmasked",
        ),
    ),
    "no picture": (
        remove("src/field/field_03.png"),
        [],
        ("cover", "mask(s) without a picture", "1: field/field_03.tif"),
    ),
    "two masks": (
        save("cover/field/field_03.png", Image.new("L", (12, 10))),
        [],
        ("field_03.png and field/field_03.tif are masks of one picture",),
    ),
    "two pictures": (
        save("src/field/field_03.jpg", Image.new("RGB", (12, 10))),
        [],
        ("field_03.jpg and field/field_03.png would share one mask",),
    ),
    "size": (
        save("cover/field/field_03.tif", Image.new("L", (10, 12))),
        [],
        ("cover/field/field_03.tif: 10x12 pixels, but its picture has 12x10",),
    ),
    "value": (
        save("cover/field/field_03.tif", Image.new("L", (12, 10), 4)),
        [],
        ("field_03.tif: value 4 at column 0, row 0 is no class of 'cover'",),
    ),
    "colour": (
        save("roads/town/town_01.tif", Image.new("RGB", (12, 10), (1, 1, 1))),
        [],
        ("town_01.tif: colour #010101 at column 0, row 0 is no class of 'roads'",),
    ),
    "name": (lambda root: None, ["--masks", "Big=x"], ("Big", "small letters")),
    "folder twice": (lambda root: None, ["--masks", "cover=x"], ("'cover' already",)),
    "no folder": (lambda root: None, ["--masks", "gone"], ("--masks gone", "no such folder")),
    "classes of nothing": (lambda root: None, ["--mask-classes", "x=y"], ("no --masks for 'x'",)),
    "ignore of nothing": (lambda root: None, ["--ignore", "3"], ("no --masks for 'mask'",)),
    "nothing": (lambda root: None, ["--ignore", "cover="], ("--ignore cover=: nothing",)),
    "no classes": (lambda root: None, ["--masks", "src"], ("--masks", "--mask-classes")),
}


@pytest.mark.parametrize("case", MASKS)
def test_mistakes_with_masks(
    case: str,
    source: Path,
    masked: Path,
    tools: Tools,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    change, options, parts = MASKS[case]
    monkeypatch.chdir(tmp_path)
    change(tmp_path)
    before = entries(tmp_path)
    result = tools(
        "prepare", "src", "--out", "out", *mask_options(Path()), *options, "--workers", 1
    )
    result.assert_error(*parts)
    assert entries(tmp_path) == before


def test_unreadable_mask_counts_as_unreadable_picture(
    source: Path, masked: Path, tools: Tools, tmp_path: Path
) -> None:
    (masked / "cover" / "town" / "town_02.tif").write_bytes(b"II*\0nothing")
    out = tmp_path / "out"
    arguments = ("prepare", source, "--out", out, "--workers", 1, *mask_options(masked))
    tools(*arguments).assert_error(
        "1 unreadable picture:", "town/town_02.png", "cover/town/town_02"
    )
    assert tools(*arguments, "--skip-unreadable").code == 0
    assert sum(split.records for split in Manifest.read(out).splits.values()) == 24
    # Which was skipped is known the next time.
    again = tools(*arguments, "--skip-unreadable")
    assert again.code == 0 and "already there" in again.out

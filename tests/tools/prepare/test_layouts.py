"""Folders as people have them: taken if plain, else refused with the command that is right."""

import json
import os
import re
import shlex
import shutil
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.tools.commands import Tools
from tests.tools.data_sets import entries, picture, rows_of
from tools.prepare.layout import plain_name
from train.data.manifest import Manifest

COLOURS = {"water": "#3c1098", "land": "#8429f6"}


def put(root: Path, *paths: str) -> None:
    """Make pictures; those named for masks, labels or segmentation are masks of two colours."""
    for path in paths:
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        seed = zlib.crc32(path.encode())
        if re.search("mask|label|segmentation", path.lower()):
            pixels = np.array([[0x3C, 0x10, 0x98], [0x84, 0x29, 0xF6]], np.uint8)
            chosen = np.random.default_rng(seed).integers(0, 2, (24, 24))
            Image.fromarray(pixels[chosen]).save(file)
        else:
            # Few squares, so that no picture looks like another once it is a JPEG.
            picture(seed, (6, 6)).resize((24, 24)).save(file)


def paths(pattern: str, count: int = 5, **names: list[str]) -> list[str]:
    """Fill a pattern with every combination of names, and with the numbers 0 .. count-1."""
    found = [pattern]
    for name, values in names.items():
        found = [text.replace(f"<{name}>", value) for text in found for value in values]
    return [text.replace("<n>", str(n)) for text in found for n in range(count)]


def suggested(message: str) -> list[list[str]]:
    """The commands in a message, as lists of arguments of ``tools``."""
    words = message.split(" (in FILE")[0]
    found = re.findall(r"python -m tools (prepare .+?)(?=$|, or python|; if all|: python)", words)
    return [shlex.split(text) for text in found]


# The files; which of the commands in the message is run; classes, splits and label spaces then.
LAYOUTS: dict[str, tuple[list[str], int, list[str], list[str], list[str]]] = {
    "folder around": (
        paths("RSSCN7-master/RSSCN7/<c>/<n>.jpg", c=["aGrass", "bField"]),
        *(0, ["aGrass", "bField"], ["train", "val", "test"], []),
    ),
    "images in between": (
        paths("Images/<c>/<c><n>.tif", c=["agricultural", "beach"]),
        *(0, ["agricultural", "beach"], ["train", "val", "test"], []),
    ),
    "two levels, the lower": (
        [
            *paths("farm/<c>/<n>.png", c=["dry", "wet"]),
            *paths("city/<c>/<n>.png", c=["old", "new"]),
        ],
        *(0, ["dry", "new", "old", "wet"], ["train", "val", "test"], []),
    ),
    "two levels, the upper": (
        [
            *paths("farm/<c>/<n>.png", c=["dry", "wet"]),
            *paths("city/<c>/<n>.png", c=["old", "new"]),
        ],
        *(1, ["city", "farm"], ["train", "val", "test"], []),
    ),
    "some class folders hold folders": (
        [*paths("farm/<n>.png"), *paths("city/old/<n>.png"), *paths("city/new/<n>.png")],
        *(0, ["city", "farm"], ["train", "val", "test"], []),
    ),
    "split in class": (
        paths("<c>/<s>/<n>.png", c=["a", "b"], s=["Train", "TEST"]),
        *(0, ["a", "b"], ["train", "test"], []),
    ),
    "splits and another, left out": (
        [*paths("<s>/<c>/<n>.png", s=["train", "test"], c=["a", "b"]), *paths("unlabeled/<n>.png")],
        *(0, ["a", "b"], ["train", "test"], []),
    ),
    "splits and another, all classes": (
        paths("<c>/<n>.png", c=["train", "test", "bus"]),
        *(1, ["bus", "test", "train"], ["train", "val", "test"], []),
    ),
    "nearly splits": (
        paths("<s>_images/<c>/<n>.png", s=["train", "test"], c=["a", "b"]),
        *(0, ["a", "b"], ["train", "test"], []),
    ),
    "several folders for a split": (
        paths("<s>/<c>/<s><n>.png", s=["train_1", "train_2", "Testing 1"], c=["a", "b"]),
        *(0, ["a", "b"], ["train", "test"], []),
    ),
    "masks in a folder of the source": (
        paths("<c>/<n>.jpg", c=["a", "b"]) + paths("masks/<c>/<n>.png", c=["a", "b"]),
        *(0, ["a", "b"], ["train", "val", "test"], ["mask"]),
    ),
    "tiles": (
        paths("Tile <t>/<k>", 1, t=["1", "2", "3"], k=["images/1.jpg", "masks/1.png"])
        + paths("Tile <t>/<k>", 1, t=["1", "2", "3"], k=["images/2.jpg", "masks/2.png"]),
        *(0, [], ["train", "val", "test"], ["mask"]),
    ),
    "images and labels of other names": (
        paths("Images/top_2_<n>_RGB.tif", 12) + paths("Labels/top_2_<n>_label.tif", 12),
        *(0, [], ["train", "val", "test"], ["mask"]),
    ),
    "labels of longer names": (
        paths("image_RGB/GF2_<n>.tif") + paths("label_5classes/GF2_<n>_label.tif"),
        *(0, [], ["train", "val", "test"], ["mask"]),
    ),
    "few of many pictures have masks": (
        paths("JPEGImages/<n>.jpg", 30)
        + [f"SegmentationClass/{n}.png" for n in (3, 7, 12, 18, 25)]
        + [f"SegmentationObject/{n}.png" for n in (3, 7, 12, 18, 25)],
        *(0, [], ["train", "val", "test"], ["mask"]),
    ),
    "masks in one split only": (
        paths("train/<k>/<n>.tif", k=["images", "gt_masks"]) + paths("test/images/<n>.tif"),
        *(0, [], ["train", "val", "test"], ["mask"]),
    ),
    "folders in folders of the same name": (
        paths("images/images/P<n>.png") + paths("masks/images/P<n>_color.png"),
        *(0, [], ["train", "val", "test"], ["mask"]),
    ),
    "scenes and masks of the same names": (
        paths("image/<c>/<n>.jpg", c=["a", "b"]) + paths("label/<c>/<n>.png", c=["a", "b"]),
        *(0, ["a", "b"], ["train", "val", "test"], ["mask"]),
    ),
    "areas in splits": (
        paths("<s>/<a>/images_png/<n>.png", 3, s=["Train", "Val"], a=["Rural", "Urban"])
        + paths("<s>/<a>/masks_png/<n>.png", 3, s=["Train", "Val"], a=["Rural", "Urban"]),
        *(0, [], ["train", "val"], ["mask"]),
    ),
    "both in one folder": (
        paths("<n>_sat.jpg") + paths("<n>_mask.png"),
        *(0, [], ["train", "val", "test"], ["mask"]),
    ),
    "both in one folder, told by the start": (
        paths("image_<n>.png", 12) + paths("mask_<n>.png", 12),
        *(0, [], ["train", "val", "test"], ["mask"]),
    ),
    "masks in class folders": (
        paths("<c>/<n>.png", c=["a", "b"]) + paths("<c>/<n>_mask.png", c=["a", "b"]),
        *(0, ["a", "b"], ["train", "val", "test"], ["mask"]),
    ),
    "a folder of masks for each split": (
        paths("<s>/x<n>.png", s=["train", "val"])
        + paths("<s>_labels/x<n>.png", s=["train", "val"]),
        *(0, [], ["train", "val"], ["mask"]),
    ),
}


@pytest.mark.parametrize("case", LAYOUTS)
def test_the_command_in_the_message_is_right(
    case: str, tools: Tools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files, number, classes, splits, masks = LAYOUTS[case]
    monkeypatch.chdir(tmp_path)
    put(tmp_path / "src", *files)
    given = ["prepare", "src", "--out", "out", "--workers", 1]

    refused = tools(*given)

    refused.assert_error("src: ")
    assert entries(tmp_path) == ["src"]
    (tmp_path / "FILE").write_text(json.dumps(COLOURS))
    command = suggested(refused.err.strip())[number]
    made = tools(*command)
    if case.startswith("few"):
        made.assert_error("JPEGImages: 25 picture(s) without a mask: 0.jpg", "--skip-unmasked")
        made = tools(*command, "--skip-unmasked")
        assert "25 picture(s) without a mask" in made.out
        assert "already there" in tools(*command, "--skip-unmasked").out
    assert made.code == 0, made.err
    manifest = Manifest.read(tmp_path / "out")
    assert list(manifest.classes) == classes
    assert list(manifest.splits) == splits and list(manifest.masks) == masks
    rows = rows_of(tmp_path / "out")
    used = {row["key"] for row in rows} | {row.get("mask_mask_file", "") for row in rows}
    left = [
        f for f in files if f"src/{f}" not in used and not any(f.endswith(k) for k in used if k)
    ]
    if not case.startswith("few"):
        assert bool(left) == ("left out, as their paths" in made.out)


def test_tiles_stay_together(tools: Tools, tmp_path: Path) -> None:
    put(tmp_path / "city", *paths("<t>/images/<n>.jpg", t=["1", "2", "3"]))
    put(tmp_path / "city", *paths("<t>/masks/<n>.png", t=["1", "2", "3"]))
    (tmp_path / "c.json").write_text(json.dumps(COLOURS))
    options = ["--layout", "{group}/images/*", "--masks", "{parent}/../masks/{stem}.png"]
    options += ["--mask-classes", f"{tmp_path / 'c.json'}", "--out", f"{tmp_path / 'out'}"]
    assert tools("prepare", tmp_path / "city", *options, "--workers", 1).code == 0
    found = {(row["group"], row["split"]) for row in rows_of(tmp_path / "out")}
    assert {group for group, _ in found} == {"1", "2", "3"} and len(found) == 3
    again = tools("prepare", tmp_path / "city", *options, "--workers", 1)
    assert again.code == 0 and "already there" in again.out
    changed = tmp_path / "city" / "1" / "masks" / "0.png"
    shutil.copy(tmp_path / "city" / "1" / "masks" / "1.png", changed)
    os.utime(changed, (1, 1))
    tools("prepare", tmp_path / "city", *options).assert_error("changed", "1/masks/0.png")


PLAIN = {
    "other words": ("<s>/<c>/<n>.png", ["training", "Testing"], ["train", "test"]),
    "capitals": ("<s>/<c>/<n>.png", ["TRAIN", "Validation"], ["train", "val"]),
}


@pytest.mark.parametrize("case", PLAIN)
def test_words_for_splits(case: str, tools: Tools, tmp_path: Path) -> None:
    pattern, words, splits = PLAIN[case]
    put(tmp_path / "src", *paths(pattern, s=words, c=["a", "b"]))
    result = tools("prepare", tmp_path / "src", "--out", tmp_path / "out", "--workers", 1)
    assert result.code == 0 and list(Manifest.read(tmp_path / "out").splits) == splits


def test_what_is_left_out_is_said(tools: Tools, tmp_path: Path) -> None:
    root = tmp_path / "src"
    put(root, *paths("<c>/<n>.jpg", c=["airport", "beach"]))
    put(root, *paths("harbor/<n>.gif", 3), "airport/preview.gif", "loose.png")
    (root / "island").mkdir()
    (root / "airport" / "values.npy").write_bytes(b"")
    put(root, "airport/.hidden.png")
    os.mkfifo(root / "beach" / "pipe.jpg")
    (root / "beach" / "again").symlink_to(root)
    # A name that is not UTF-8.
    (root / os.fsdecode(b"\xffolder")).mkdir()
    result = tools("prepare", root, "--out", tmp_path / "out", "--workers", 1)
    assert result.code == 0
    for text in (
        "3 folder(s): harbor (gif), island (empty), \\udcffolder (empty)",
        "4 gif (airport/preview.gif)",
        "1 npy (airport/values.npy)",
        "1 pipes, sockets or devices (beach/pipe.jpg)",
        "1 links that lead back (beach/again)",
        "1 hidden pictures (airport/.hidden.png)",
        "1 picture(s): loose.png",
    ):
        assert text in result.out, text
    # It is said again where nothing is to be done.
    again = tools("prepare", root, "--out", tmp_path / "out", "--workers", 1)
    assert again.code == 0 and "harbor (gif)" in again.out


def test_linked_folders_at_any_depth(tools: Tools, tmp_path: Path) -> None:
    put(tmp_path / "disk", *paths("<c>/<n>.png", c=["a", "b"]))
    root = tmp_path / "src"
    (root / "x" / "y").mkdir(parents=True)
    for name in "ab":
        (root / "x" / "y" / name).symlink_to(tmp_path / "disk" / name)
        # Round in a circle, from outside of the source.
        (tmp_path / "disk" / name / "up").symlink_to(tmp_path)
    out = tmp_path / "out"
    result = tools("prepare", root, "--out", out, "--layout", "x/y/{class}/*", "--workers", 1)
    assert result.code == 0 and len(rows_of(out)) == 10


def test_class_names_that_are_the_same_to_the_eye(tools: Tools, tmp_path: Path) -> None:
    put(tmp_path / "src", *paths("train/<c>/<n>.png", c=["Air port", "Beach"]))
    put(tmp_path / "src", *paths("test/<c>/<n>.png", c=["airport", "Beach"]))
    result = tools("prepare", tmp_path / "src", "--out", tmp_path / "out")
    result.assert_error("'Air port' and 'airport'", "same name")


def test_masks_in_a_folder_that_does_not_mirror(
    tools: Tools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    put(tmp_path / "src", *paths("<c>/<c><n>.jpg", c=["a", "b"]))
    put(tmp_path / "masks", *paths("<c><n>_label.png", c=["a", "b"]))
    (tmp_path / "c.json").write_text(json.dumps(COLOURS))
    given = ["prepare", "src", "--mask-classes", "c.json", "--out", "out", "--workers", 1]
    refused = tools(*given, "--masks", "masks")
    refused.assert_error("10 picture(s) without a mask: a/a0.jpg", "in its place")
    options = shlex.split(refused.err.split("in its place: ")[1].strip()[:-1])
    assert tools(*given, *options).code == 0
    assert list(Manifest.read(tmp_path / "out").classes) == ["a", "b"]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("Beach", "beach", True),
        ("dense residential", "dense_residential", True),
        ("Parking-Lot", "parking lot", True),
        ("caf\u00e9", "cafe\u0301", True),
        ("Beach ", "Beach", True),
        ("10", "1_0", False),
        ("-1", "1", False),
        ("1.0", "10", False),
        ("class 1", "class 11", False),
        ("forest", "forests", False),
    ],
)
def test_names_that_are_one(one: str, other: str, same: bool) -> None:
    assert (plain_name(one) == plain_name(other)) == same


def test_masks_that_differ_in_their_ending_alone(tools: Tools, tmp_path: Path) -> None:
    put(tmp_path / "src", *paths("<n>.jpg"))
    put(tmp_path / "masks", *paths("<n>_label.png"))
    for number in range(5):
        (tmp_path / "masks" / f"{number}_label.png").rename(tmp_path / "src" / f"{number}.png")
    (tmp_path / "c.json").write_text(json.dumps(COLOURS))
    options = ["--masks", "{parent}/{stem}.png", "--mask-classes", str(tmp_path / "c.json")]
    result = tools("prepare", tmp_path / "src", "--out", tmp_path / "out", *options)
    assert result.code == 0 and "warning" not in result.out, result.err
    assert {row["key"] for row in rows_of(tmp_path / "out")} == set(paths("<n>.jpg"))

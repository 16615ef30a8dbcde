"""python -m tools prepare: the user's mistakes."""

import csv
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from tests.tools.commands import Tools
from tests.tools.data_sets import all_rows, encoded, entries, picture, read_records, write_csv
from train.data.manifest import Manifest

ERRORS = {
    "no source": (["nowhere"], "nowhere", "no such folder"),
    "bad ratios": (["--ratios", "0.5,0.2,0.2"], "--ratios", "add up to 1"),
    "negative ratio": (["--ratios", "1.2,-0.2,0"], "--ratios", "negative"),
    "nan ratio": (["--ratios", "nan,0.5,0.5"], "--ratios", "add up to 1"),
    "no train": (["--ratios", "0,0.5,0.5"], "--ratios", "train"),
    "size 0": (["--size", "0"], "--size 0", "1..8192"),
    "quality": (["--quality", "101"], "--quality 101", "1..100"),
    "shards": (["--shards", "0"], "--shards 0", "1..1000"),
    "workers": (["--workers", "0"], "--workers 0", "1..64"),
    "name": (["--name", "a/b"], "--name 'a/b'", "letters"),
    "csv": (["--table", "none.csv"], "none.csv", "No such file"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_mistakes_in_options(case: str, source: Path, tools: Tools, tmp_path: Path) -> None:
    arguments, *parts = ERRORS[case]
    given = source if str(arguments[0]).startswith("--") else tmp_path / arguments[0]
    rest = [a for a in arguments if a != "nowhere"]
    tools("prepare", given, "--out", tmp_path / "out", *rest).assert_error(*parts)
    assert entries(tmp_path) == ["src"]


@pytest.mark.parametrize("arguments", [["--ratios", "1,2"], ["--size", "big"], ["--format", "gif"]])
def test_mistakes_that_argparse_finds(
    arguments: list[str], source: Path, tools: Tools, tmp_path: Path
) -> None:
    result = tools("prepare", source, "--out", tmp_path / "out", *arguments)
    assert result.code == 2 and arguments[0] in result.err and "Traceback" not in result.err


def first(change: Callable[[list[str]], None]) -> Callable[[list[list[str]]], None]:
    return lambda rows: change(rows[0])


CSV_ERRORS: dict[str, tuple[Callable[[list[list[str]]], None], tuple[str, ...]]] = {
    "missing file": (
        first(lambda row: row.__setitem__(0, "field/gone.png")),
        ("line 2", "field/gone.png", "no such file"),
    ),
    "unknown split": (
        first(lambda row: row.__setitem__(2, "trian")),
        ("line 2", "'trian'", "train, training, val, valid, validation, test, testing"),
    ),
    "other class": (first(lambda row: row.__setitem__(1, "town")), ("line 2", "'field'", "'town'")),
    "empty class": (first(lambda row: row.__setitem__(1, "")), ("line 2", "class is empty")),
    "twice": (lambda rows: rows.append(rows[0]), ("line 27", "field_00.png", "line 2")),
    "twice in disguise": (
        lambda rows: rows.append(["./field/../field/field_00.png", "field", "train"]),
        ("line 27", "field/field_00.png", "line 2"),
    ),
    "outside": (
        first(lambda row: row.__setitem__(0, "../src/field/field_00.png")),
        ("line 2", "relative to SRC"),
    ),
    "class without train": (
        lambda rows: rows.__setitem__(slice(10, 15), [[*row[:2], "val"] for row in rows[10:15]]),
        ("no train picture", "town"),
    ),
    "no rows": (lambda rows: rows.clear(), ("no rows",)),
}


@pytest.mark.parametrize("case", CSV_ERRORS)
def test_mistakes_in_the_csv(case: str, source: Path, tools: Tools, tmp_path: Path) -> None:
    change, parts = CSV_ERRORS[case]
    rows = [list(row) for row in all_rows(source, lambda index: "train")]
    change(rows)
    with (tmp_path / "s.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["file", "class", "split"], *rows])
    result = tools("prepare", source, "--out", tmp_path / "out", "--table", tmp_path / "s.csv")
    result.assert_error(*parts)
    assert entries(tmp_path) == ["s.csv", "src"]


def test_csv_without_a_column(source: Path, tools: Tools, tmp_path: Path) -> None:
    table = write_csv(tmp_path / "s.csv", [("a", "b", "c")], "file,kind,split")
    result = tools("prepare", source, "--out", tmp_path / "out", "--table", table)
    result.assert_error("s.csv", "no column class or label")


def test_folders_without_usable_pictures(source: Path, tools: Tools, tmp_path: Path) -> None:
    out = tmp_path.with_name(f"{tmp_path.name}_out")
    (tmp_path / "empty" / "class").mkdir(parents=True)
    tools("prepare", tmp_path / "empty", "--out", out).assert_error("empty", "no pictures")
    # SRC one level too high.
    tools("prepare", tmp_path, "--out", out).assert_error(f"prepare {source}")
    for split in ("train", "test"):
        (source / "field").rename(tmp_path / "field") if split == "train" else None
        (tmp_path / "ready" / split).mkdir(parents=True)
        picture(1).save(tmp_path / "ready" / split / "a.png")
    tools("prepare", tmp_path / "ready", "--out", out).assert_error("are splits", "--table")


def test_unreadable_pictures_are_all_counted(source: Path, tools: Tools, tmp_path: Path) -> None:
    for number in range(4):
        (source / "water" / f"water_{number:02d}.png").write_bytes(b"not a picture")
    whole = encoded(picture(5, (64, 64)), "JPEG")
    (source / "field" / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    out = tmp_path / "out"
    result = tools("prepare", source, "--out", out)
    result.assert_error("5 unreadable pictures", "--skip-unreadable")
    assert entries(tmp_path) == ["src"]
    result = tools("prepare", source, "--out", out, "--skip-unreadable")
    assert result.code == 0 and "unreadable skipped: 5" in result.out
    manifest = Manifest.read(out)
    assert manifest.notes["unreadable_skipped"] == 5
    assert sum(split.records for split in manifest.splits.values()) == 21
    keys = [key for split in manifest.splits for _, _, key in read_records(out, split)]
    assert len(keys) == 21 and "field/cut.jpg" not in keys


def test_class_whose_train_pictures_are_all_unreadable(
    source: Path, tools: Tools, tmp_path: Path
) -> None:
    table = write_csv(tmp_path / "s.csv", all_rows(source, lambda index: "train"))
    for file in (source / "town").iterdir():
        file.write_bytes(b"")
    arguments = ("--out", tmp_path / "out", "--table", table, "--skip-unreadable")
    tools("prepare", source, *arguments).assert_error("no train picture", "town")
    assert entries(tmp_path) == ["s.csv", "src"]


def test_equal_pixels_across_splits(source: Path, tools: Tools, tmp_path: Path) -> None:
    # Another file format, other bytes, another class, but the same pixels.
    with Image.open(source / "field" / "field_00.png") as image:
        image.save(source / "water" / "copy.bmp")
        image.save(source / "field" / "again.png", compress_level=1)
    rows = [*all_rows(source, lambda index: "train"), ("water/copy.bmp", "water", "test")]
    table = write_csv(tmp_path / "s.csv", rows)
    arguments = ("--out", tmp_path / "out", "--table", table)
    result = tools("prepare", source, *arguments)
    result.assert_error("1 pair(s)", "water/copy.bmp (test)", "(train)", "--duplicates allow")
    assert entries(tmp_path) == ["out.decoded", "out.duplicates.csv", "s.csv", "src"]
    table_of_pairs = (tmp_path / "out.duplicates.csv").read_text().splitlines()
    assert table_of_pairs[1:] == [
        "equal,0,out,train,field/again.png,out,test,water/copy.bmp",
        "equal,0,out,train,field/again.png,out,train,field/field_00.png",
    ]
    assert tools("prepare", source, *arguments, "--duplicates", "allow").code == 0
    notes = Manifest.read(tmp_path / "out").notes
    assert notes["duplicates_across_splits"] == 1 and notes["duplicates_within_splits"] == 1
    assert entries(tmp_path) == ["out", "s.csv", "src"]


def test_pictures_of_one_colour_are_refused(tools: Tools, tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / "src" / name).mkdir(parents=True)
        for number in range(3):
            grey = Image.new("RGB", (8, 8 + number), (7, 7, 7))
            grey.save(tmp_path / "src" / name / f"{number}.png")
    result = tools("prepare", tmp_path / "src", "--out", tmp_path / "out", "--duplicates", "allow")
    result.assert_error("red has one value")

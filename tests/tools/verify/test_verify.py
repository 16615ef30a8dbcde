"""python -m tools verify: every kind of damage is found and named."""

import contextlib
import dataclasses
import io
import json
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.tools.commands import Tools
from tests.tools.data_sets import manifest_json, picture
from tools.__main__ import main
from tools.common.stored_records import Record
from tools.verify.record import check_records
from train.data.manifest import Listing, Manifest, MaskSpace, digest_of
from train.files import sha256_file


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 pictures in 2 classes, with masks, in two shards per split."""
    root = tmp_path_factory.mktemp("prepared")
    for number in range(24):
        for kind, image in (
            ("src", picture(number, (40, 30))),
            ("masks", Image.fromarray(np.full((30, 40), number % 3, np.uint8))),
        ):
            folder = root / kind / "ab"[number % 2]
            folder.mkdir(parents=True, exist_ok=True)
            image.save(folder / f"{number:02d}.png")
    (root / "classes.json").write_text('["x", "y", "z"]')
    masks = ["--masks", str(root / "masks"), "--mask-classes", str(root / "classes.json")]
    options = ["--format", "png", "--shards", "2", "--workers", "1"]
    assert main(["prepare", str(root / "src"), "--out", str(root / "out"), *masks, *options]) == 0
    return root / "out"


@pytest.fixture
def copy(prepared: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(prepared, tmp_path / "out"))


def test_whole(copy: Path, tools: Tools) -> None:
    result = tools("verify", copy, "--workers", 2)
    assert result.code == 0 and "damaged" not in result.out
    lines = [line.split() for line in result.out.splitlines()]
    assert [line[:3] + line[-1:] for line in lines[1:]] == [
        ["train", "14", "2", "ok"],
        ["val", "6", "2", "ok"],
        ["test", "4", "2", "ok"],
    ]


def change(path: Path, where: int) -> None:
    data = bytearray(path.read_bytes())
    data[where] ^= 0xFF
    path.write_bytes(data)


def test_a_damaged_record_is_named(copy: Path, tools: Tools) -> None:
    shard = copy / "train.mindrecord1"
    data = shard.read_bytes()
    # In the middle of the picture of the second record of the shard.
    key = [line.split(",")[1] for line in (copy / "records.csv").read_text().splitlines()[1:]][8]
    image = (copy.parent / "image.png").resolve()
    number = int(Path(key).stem)
    picture(number, (40, 30)).save(image)
    where = data.index(image.read_bytes()[100:140]) + 10
    change(shard, where)
    result = tools("verify", copy, "--workers", 1)
    assert result.code == 1
    assert (
        f"{shard}: damaged: train.mindrecord1 has another sha256; lost 1 of 7 records: {key}"
        in (result.out)
    )
    rows = {line.split()[0]: line.split() for line in result.out.splitlines()}
    assert rows["train"][-2:] == ["1", "problem(s)"] and rows["val"][-1] == "ok"


@pytest.mark.parametrize(
    ("name", "damage", "parts"),
    [
        ("val.mindrecord0", lambda path: path.unlink(), ["No such file", "lost 3 of 3 records: "]),
        (
            "test.mindrecord0",
            lambda path: path.write_bytes(path.read_bytes()[:5000]),
            ["has 5000 bytes instead of", "lost 2 of 2 records: "],
        ),
        (
            "test.mindrecord1.db",
            lambda path: path.write_bytes(b"x" * path.stat().st_size),
            ["test.mindrecord1.db has another sha256", "lost 2 of 2 records: "],
        ),
        (
            "records.csv",
            lambda path: path.write_text(path.read_text().replace("train", "tests", 1)),
            ["records.csv: damaged"],
        ),
        ("manifest.json", lambda path: path.write_text("{"), ["manifest.json: cannot be read"]),
    ],
)
def test_damaged_files(
    name: str, damage: Callable[[Path], object], parts: list[str], copy: Path, tools: Tools
) -> None:
    damage(copy / name)
    result = tools("verify", copy, "--workers", 1)
    assert result.code == 1
    # MindSpore's own pages are not shown.
    assert result.out.count("\n") <= 6
    assert [line.endswith("pictures ...") for line in result.err.splitlines()] == [True]
    for part in parts:
        assert part in result.out


def test_one_of_several(prepared: Path, copy: Path, tools: Tools) -> None:
    (copy / "train.mindrecord0.db").unlink()
    result = tools("verify", copy, prepared, "--workers", 1)
    assert result.code == 1
    assert str(copy / "train.mindrecord0") in result.out and str(prepared) in result.out
    assert result.out.count("ok") == 5


def lie(copy: Path, change: Callable[[dict[str, object]], None]) -> None:
    data = manifest_json(copy)
    change(data)
    (copy / "manifest.json").write_text(json.dumps({**data, "digest": digest_of(data)}))


def test_counts_that_do_not_fit(copy: Path, tools: Tools) -> None:
    splits = manifest_json(copy)["splits"]
    splits["train"]["per_class"] = splits["train"]["per_class"][::-1]
    splits["train"]["per_class"][0] += 1
    splits["train"]["per_class"][1] -= 1
    splits["val"]["pixels"]["mask"][0] += 1
    lie(copy, lambda data: data.update(splits=splits))
    result = tools("verify", copy, "--workers", 1)
    assert result.code == 1
    assert "train: records per class are not those of the manifest" in result.out
    assert "val: pixels per class of 'mask' are not those of the manifest" in result.out


def test_a_table_that_does_not_fit(copy: Path, tools: Tools) -> None:
    table = copy / "records.csv"
    lines = table.read_text().splitlines()
    lines[2] = lines[2].replace("/", "/0", 1)
    table.write_text("\n".join(lines) + "\n")
    listing = {"bytes": table.stat().st_size, "sha256": sha256_file(table)}
    lie(copy, lambda data: data.update(listing=listing))
    result = tools("verify", copy, "--workers", 1)
    assert result.code == 1
    assert (
        "1 of 7 records wrong: a/" in result.out and "has another key in records.csv" in result.out
    )


def test_digests_of_who_changed_the_records(copy: Path, tools: Tools) -> None:
    """Two records changed places, and all digests were made anew: the table tells."""
    index = copy / "train.mindrecord0.db"
    with contextlib.closing(sqlite3.connect(index)) as database, database:
        for statement in ("1003 - ROW_ID WHERE ROW_ID IN (1, 2)", "ROW_ID % 1000"):
            database.execute(f"UPDATE INDEXES SET ROW_ID = {statement}")
    splits = manifest_json(copy)["splits"]
    splits["train"]["shards"][0]["index_sha256"] = sha256_file(index)
    lie(copy, lambda data: data.update(splits=splits))
    result = tools("verify", copy, "--workers", 1)
    assert result.code == 1
    assert "train.mindrecord0: 2 of 7 records wrong: " in result.out
    assert "has another key, crc in records.csv" in result.out


def test_mistakes(tools: Tools, copy: Path, tmp_path: Path) -> None:
    tools("verify", tmp_path / "none").assert_error("none", "no such folder")
    tools("verify", copy, "--workers", 0).assert_error("--workers 0", "1..64")
    result = tools("verify", tmp_path, "--workers", 1)
    assert result.code == 1 and "not a prepared data set" in result.out


IMAGE = {"format": "png", "size": 30, "quality": None, "height": [30, 30], "width": [40, 40]}
MANIFEST = Manifest(
    *("m", ("a", "b"), IMAGE, (0.5,) * 3, (0.5,) * 3, {}, Listing(0, ""), {}, ""),
    masks={"mask": MaskSpace(("x", "y", "z"))},
)


def png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


GOOD = png(picture(1, (40, 30)))
MASK = png(Image.new("L", (40, 30), 2))


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({}, None),
        ({"label": 2}, "label 2 is not in 0..1"),
        ({"label": -1}, "label -1 is not in 0..1"),
        ({"crc": 5}, "its checksum is another"),
        ({"image": GOOD[:200]}, "cannot be decoded"),
        ({"image": png(picture(1, (40, 30)).convert("L"))}, "is PNG L instead of RGB png"),
        ({"image": png(picture(1, (40, 31)))}, "has 40x31 pixels"),
        ({"masks": (png(Image.new("L", (40, 30), 3)),)}, "has a mask value 3, and 3 classes"),
        ({"masks": (png(Image.new("L", (30, 40))),)}, "has a mask of 30x40 L pixels"),
        ({"masks": (MASK[:60],)}, "cannot be decoded"),
    ],
)
def test_every_record_is_checked(change: dict[str, object], problem: str | None) -> None:
    record = dataclasses.replace(Record(GOOD, 1, "k", (MASK,)), **change)  # type: ignore[arg-type]
    if "crc" not in change:
        record = dataclasses.replace(record, crc=record.checksum())
    (found,) = check_records(MANIFEST, [record])
    if problem is None:
        assert found.problem is None and found.counts == ((0, 0, 1200, 0),)
    else:
        assert found.problem is not None and problem in found.problem


def test_rules_of_a_manifest(prepared: Path) -> None:
    manifest = Manifest.read(prepared)
    assert manifest.image == IMAGE | {"size": None}
    assert (manifest.classes, manifest.masks) == (MANIFEST.classes, MANIFEST.masks)

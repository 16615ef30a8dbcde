"""python -m tools prepare a second time: nothing to do, or one line that says what is different."""

import json
import os
import time
from pathlib import Path

import pytest

from tests.tools.commands import Tools
from tests.tools.data_sets import all_rows, entries, manifest_json, picture, write_csv


@pytest.fixture
def made(source: Path, tools: Tools, tmp_path: Path) -> tuple[object, ...]:
    """Arguments that have been run once, on "source" and a table of it."""
    table = write_csv(tmp_path / "t.csv", all_rows(source, lambda n: ("train", "val")[n % 2]))
    arguments = ("prepare", source, "--out", tmp_path / "out", "--table", table, "--workers", 1)
    assert tools(*arguments).code == 0
    return arguments


def test_unchanged(made: tuple[object, ...], source: Path, tools: Tools, tmp_path: Path) -> None:
    before = (tmp_path / "out" / "manifest.json").stat()
    # Another time of change alone, as after copying: the contents decide.
    os.utime(source / "field" / "field_00.png", (1, 1))
    # Which does not matter for the result: worker processes.
    result = tools(*made[:-1], 2)
    assert result.code == 0 and "already there" in result.out and result.out.count("\n") == 1
    after = (tmp_path / "out" / "manifest.json").stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)
    assert entries(tmp_path) == ["out", "src", "t.csv"]


def test_nothing_is_decoded(
    made: tuple[object, ...], tools: Tools, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object) -> None:
        raise AssertionError

    monkeypatch.setattr("tools.prepare.decode.take_in", refuse)
    monkeypatch.setattr("tools.prepare.rerun.sha256_file", refuse)
    assert tools(*made).code == 0


def test_changed_source(
    made: tuple[object, ...], source: Path, tools: Tools, tmp_path: Path
) -> None:
    before = (tmp_path / "out" / "manifest.json").read_bytes()
    rows = all_rows(source, lambda n: ("train", "val")[n % 2])
    # One file with the same number of bytes, one with others, one in another split.
    same = source / "field" / "field_00.png"
    data = bytearray(same.read_bytes())
    data[-20] ^= 1
    same.write_bytes(data)
    os.utime(same, (time.time() + 5, time.time() + 5))
    picture(50, (9, 9)).save(source / "town" / "town_01.png")
    rows[5] = (*rows[5][:2], "train" if rows[5][2] == "val" else "val")
    for number in range(4):
        picture(60 + number).save(source / "town" / f"new{number}.png")
        rows.append((f"town/new{number}.png", "town", "train"))
    gone = rows.pop(20)
    (source / gone[0]).unlink()
    write_csv(tmp_path / "t.csv", rows)
    tools(*made).assert_error(
        "out",
        "4 added (town/new0.png, town/new1.png, town/new2.png, ...)",
        f"1 removed ({gone[0]})",
        f"3 changed (field/field_00.png, {rows[5][0]}, town/town_01.png)",
        "--overwrite",
    )
    assert (tmp_path / "out" / "manifest.json").read_bytes() == before
    same.write_bytes(picture(70).tobytes())
    picture(71).save(same)
    assert tools(*made, "--overwrite").code == 0
    assert tools(*made).code == 0


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["--size", 8], ["--size 8 (was null)"]),
        (["--quality", 80, "--seed", 3], ["--seed 3 (was 0)", "--quality 80 (was 95)"]),
        (["--name", "other"], ["--name other (was out)"]),
        (["--duplicates", "allow"], ["--duplicates allow (was refuse)"]),
        (["--skip-unreadable"], ["--skip-unreadable true (was false)"]),
    ],
)
def test_other_options(
    arguments: list[object], parts: list[str], made: tuple[object, ...], tools: Tools
) -> None:
    tools(*made, *arguments).assert_error("made with other options", "--overwrite", *parts)


def test_damaged_output_is_told(made: tuple[object, ...], tools: Tools, tmp_path: Path) -> None:
    table = tmp_path / "out" / "records.csv"
    table.write_bytes(table.read_bytes()[:-1] + b"x")
    tools(*made).assert_error("records.csv: damaged", "--overwrite")
    data = manifest_json(tmp_path / "out")
    (tmp_path / "out" / "manifest.json").write_text(json.dumps({**data, "version": 1}))
    tools(*made).assert_error("version 1 is not known", "--overwrite")
    assert tools(*made, "--overwrite").code == 0

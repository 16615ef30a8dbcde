"""python -m tools prepare: what it stores."""

import io
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.paths import ROOT
from tests.tools.commands import Tools
from tests.tools.data_sets import all_rows, entries, manifest_json, picture, read_records, write_csv
from train.data.manifest import Manifest


def test_every_record_comes_back_once(source: Path, tools: Tools, tmp_path: Path) -> None:
    out = tmp_path / "made" / "out"
    result = tools("prepare", source, "--out", out, "--format", "png", "--shards", 3)
    assert result.code == 0, result.err
    manifest = Manifest.read(out)
    assert manifest.classes == ("field", "town", "water")
    assert manifest.name == "out"
    assert {n: s.per_class for n, s in manifest.splits.items()} == {
        "train": (6, 3, 6),
        "val": (2, 1, 2),
        "test": (2, 1, 2),
    }
    seen = []
    for name, split in manifest.splits.items():
        records = read_records(out, name)
        assert len(records) == split.records
        assert [shard.records for shard in split.shards] == [
            split.records // 3 + (i < split.records % 3) for i in range(3)
        ]
        for image, label, key in records:
            assert manifest.classes[label] == key.split("/")[0]
            # RGB PNG to PNG without resizing: the very file.
            assert image == (source / key).read_bytes()
            seen.append(key)
    assert sorted(seen) == sorted(p.relative_to(source).as_posix() for p in source.rglob("*.png"))
    assert "total" in result.out and str(out) in result.out
    assert entries(tmp_path / "made") == ["out"]
    shards = [s.file for split in manifest.splits.values() for s in split.shards]
    files = [*shards, *(f"{file}.db" for file in shards), "manifest.json", "records.csv"]
    assert entries(out) == sorted(files)


def test_records_survive_renaming_the_folder(source: Path, tools: Tools, tmp_path: Path) -> None:
    tools("prepare", source, "--out", tmp_path / "a", "--shards", 2)
    (tmp_path / "a").rename(tmp_path / "b")
    assert len(read_records(tmp_path / "b", "train")) == 15


def test_no_path_of_this_machine_in_the_shards(source: Path, tools: Tools, tmp_path: Path) -> None:
    tools("prepare", source, "--out", tmp_path / "out")
    for file in (tmp_path / "out").glob("*.mindrecord*"):
        assert str(tmp_path).encode() not in file.read_bytes()


def test_csv_decides_class_and_split(source: Path, tools: Tools, tmp_path: Path) -> None:
    rows = all_rows(source, lambda index: ("train", "test", "val", "train")[index % 4])[:-1]
    table = write_csv(tmp_path / "s.csv", rows)
    assert tools("prepare", source, "--out", tmp_path / "out", "--table", table).code == 0
    found = {
        (key, Manifest.read(tmp_path / "out").classes[label], split)
        for split in ("train", "val", "test")
        for _, label, key in read_records(tmp_path / "out", split)
    }
    assert found == set(rows)
    assert Manifest.read(tmp_path / "out").notes["ignored_files"] == 1


def test_csv_of_two_splits_and_with_a_byte_order_mark(
    source: Path, tools: Tools, tmp_path: Path
) -> None:
    rows = all_rows(source, lambda index: ("train", "test")[index % 2])
    table = write_csv(tmp_path / "s.csv", rows, "\ufefffile,class,split")
    assert tools("prepare", source, "--out", tmp_path / "out", "--table", table).code == 0
    assert list(Manifest.read(tmp_path / "out").splits) == ["train", "test"]


def test_csv_may_name_files_in_one_flat_folder(tools: Tools, tmp_path: Path) -> None:
    (tmp_path / "flat").mkdir()
    rows = []
    for index in range(6):
        picture(index).save(tmp_path / "flat" / f"{index}.png")
        rows.append((f"{index}.png", "ab"[index % 2], "train" if index < 4 else "val"))
    table = write_csv(tmp_path / "s.csv", rows)
    arguments = ("--out", tmp_path / "out", "--table", table)
    assert tools("prepare", tmp_path / "flat", *arguments).code == 0
    assert Manifest.read(tmp_path / "out").splits["train"].per_class == (2, 2)


def test_statistics_are_those_of_the_train_pixels(
    source: Path, tools: Tools, tmp_path: Path
) -> None:
    # Pictures of different sizes: a mean of means would be another number.
    picture(99, (40, 31)).save(source / "water" / "water_00.png")
    tools("prepare", source, "--out", tmp_path / "out", "--format", "png")
    manifest = Manifest.read(tmp_path / "out")
    images = [
        np.array(Image.open(io.BytesIO(r[0]))) for r in read_records(tmp_path / "out", "train")
    ]
    pixels = np.concatenate([image.reshape(-1, 3) for image in images]) / 255.0
    assert np.allclose(manifest.mean, pixels.mean(axis=0), rtol=0, atol=1e-12)
    assert np.allclose(manifest.std, pixels.std(axis=0), rtol=0, atol=1e-12)
    assert manifest.image["width"] == [12, 40] and manifest.image["height"] == [10, 31]


def test_workers_and_shards_do_not_change_what_is_stored(
    source: Path, tools: Tools, tmp_path: Path
) -> None:
    options = ("--size", 8, "--seed", 3, "--name", "n")
    tools("prepare", source, "--out", tmp_path / "one", *options, "--workers", 1)
    tools("prepare", source, "--out", tmp_path / "same", *options, "--workers", 2)
    tools("prepare", source, "--out", tmp_path / "many", *options, "--workers", 2, "--shards", 4)
    one, same, many = (manifest_json(tmp_path / name) for name in ("one", "same", "many"))
    for data in (one, same, many):
        del data["command"], data["digest"]
    assert many["source"]["options"].pop("shards") == 4
    assert [data["source"]["options"].pop("shards") for data in (one, same)] == [None, None]
    # With as many shards the files are the same, byte for byte.
    assert one == same
    for split in many["splits"].values():
        assert len(split.pop("shards")) == 4
    for split in one["splits"].values():
        split.pop("shards")
    assert one == many
    for split in ("train", "val", "test"):
        a, b = (read_records(tmp_path / name, split) for name in ("one", "many"))
        assert a == b


def test_more_shards_than_records(source: Path, tools: Tools, tmp_path: Path) -> None:
    assert tools("prepare", source, "--out", tmp_path / "out", "--shards", 9).code == 0
    manifest = Manifest.read(tmp_path / "out")
    assert len(manifest.splits["val"].shards) == 5
    assert len(read_records(tmp_path / "out", "val")) == 5


@pytest.mark.parametrize("form", ["jpeg", "png"])
def test_size_is_that_of_the_shorter_side(
    form: str, source: Path, tools: Tools, tmp_path: Path
) -> None:
    picture(98, (50, 20)).save(source / "water" / "wide.png")
    picture(97, (20, 60)).save(source / "water" / "high.png")
    tools("prepare", source, "--out", tmp_path / "out", "--size", 16, "--format", form)
    sizes = {}
    for split in ("train", "val", "test"):
        for data, _, key in read_records(tmp_path / "out", split):
            with Image.open(io.BytesIO(data)) as image:
                assert image.format == form.upper() and image.mode == "RGB"
                sizes[Path(key).stem] = image.size
    assert sizes["wide"] == (40, 16) and sizes["high"] == (16, 48)
    assert set(sizes.values()) == {(40, 16), (16, 48), (19, 16)}


def test_large_and_odd_file_names(source: Path, tools: Tools, tmp_path: Path) -> None:
    name = 'it\'s "so"; 100% ü,\\.png'
    (source / "town" / "town_00.png").rename(source / "town" / name)
    assert tools("prepare", source, "--out", tmp_path / "out dir").code == 0
    keys = [r[2] for s in ("train", "val", "test") for r in read_records(tmp_path / "out dir", s)]
    assert f"town/{name}" in keys
    assert Manifest.read(tmp_path / "out dir").name == "out_dir"


def test_as_a_process_in_another_folder(source: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "tools", "prepare", "src", "--out", "out", "--workers", "2"]
    result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    manifest = Manifest.read(tmp_path / "out")
    assert manifest.source["path"] == "src"
    assert manifest.command == "python -m tools prepare src --out out --workers 2"
    result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert result.returncode == 0 and result.stderr == ""
    assert result.stdout.count("\n") == 1 and result.stdout.startswith("out: already there")


def test_unknown_command(tools: Tools) -> None:
    result = tools("prepair")
    assert result.code == 2 and "prepare" in result.err


def test_statistics_keep_their_digits(tmp_path: Path, tools: Tools) -> None:
    # Nearly one colour: the difference of two large sums, which rounded floats would lose.
    for name in "ab":
        (tmp_path / "src" / name).mkdir(parents=True)
    for number in range(4):
        pixels = np.full((600, 600, 3), 254, np.uint8)
        pixels[number, 0] = 255
        Image.fromarray(pixels).save(tmp_path / "src" / "ab"[number % 2] / f"{number}.png")
    options = ("--ratios", "1,0,0", "--format", "png")
    assert tools("prepare", tmp_path / "src", "--out", tmp_path / "out", *options).code == 0
    share = 1 / 360000
    expected = math.sqrt(share * (1 - share)) / 255
    assert Manifest.read(tmp_path / "out").std == pytest.approx([expected] * 3, rel=1e-12)

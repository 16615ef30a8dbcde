"""The manifest: written, read, and what it refuses."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.paths import ROOT
from tools.prepare.shards import Layout, Record, write_split
from train.data.records import Listing, Manifest, Shard, Split
from train.errors import UserError
from train.files import sha256_file


def example(folder: Path) -> Manifest:
    """A whole data set without real shards in ``folder``."""
    splits = {}
    for name, counts in (("train", (3, 2)), ("test", (1, 1))):
        shards = []
        for number in range(2):
            file = folder / f"{name}.mindrecord{number}"
            file.write_bytes(b"x" * (number + 5))
            file.with_name(file.name + ".db").write_bytes(b"yy")
            records = sum(counts) // 2 if number else sum(counts) - sum(counts) // 2
            shards.append(Shard(file.name, records, number + 5, "aa", 2, "bb"))
        splits[name] = Split(sum(counts), counts, tuple(shards))
    return Manifest(
        name="toy",
        classes=("a", "b"),
        image={"format": "png", "size": None, "quality": None, "height": [4, 8], "width": [4, 8]},
        mean=(0.1, 0.2, 0.3),
        std=(0.4, 0.5, 0.6),
        splits=splits,
        listing=Listing(2, "cc"),
        source={"path": "toy"},
        command="none",
        notes={"unreadable_skipped": 1},
        versions={"numpy": "1"},
    )


def test_round_trip(tmp_path: Path) -> None:
    manifest = example(tmp_path)
    manifest.write(tmp_path)
    again = Manifest.read(tmp_path)
    assert again == manifest
    assert again.shard_paths(tmp_path, "test") == [
        str(tmp_path / "test.mindrecord0"),
        str(tmp_path / "test.mindrecord1"),
    ]
    with pytest.raises(UserError, match=r"no split 'val' \(there are: train, test\)"):
        again.shard_paths(tmp_path, "val")


Data = dict[str, Any]


def put(value: object, *path: Any) -> Callable[[Data], None]:
    def change(data: Data) -> None:
        for key in path[:-1]:
            data = data[key]
        data[path[-1]] = value

    return change


BROKEN: dict[str, tuple[Callable[[Data], object], str]] = {
    "format": (put("other", "format"), "format must be 'mtln-records'"),
    "version": (put(1, "version"), "version 1 is not known"),
    "missing key": (lambda d: d.pop("mean"), "mean is missing"),
    "type": (put(3, "classes"), "classes must be a list, not 3"),
    "item type": (put(["a", 1], "classes"), r"classes\[1\] must be a text"),
    "bool": (put(True, "splits", "train", "records"), "splits: train: records must be a whole"),
    "same classes": (put(["a", "a"], "classes"), "different names"),
    "no train": (lambda d: d["splits"].pop("train"), "must hold train"),
    "strange split": (lambda d: d["splits"].update(dev={}), "holds train, test, dev"),
    "mean": (put([0.1, 0.2], "mean"), "mean must be three"),
    "std": (put([0.1, 0.2, 0], "std"), "std must be three"),
    "nan": (put([0.1, 0.2, float("nan")], "std"), "std must be three"),
    "image": (put("gif", "image", "format"), "image: format must be one of jpeg, png"),
    "counts": (put([3, 3], "splits", "train", "per_class"), "splits: train: records and the sum"),
    "classes": (put([5], "splits", "train", "per_class"), "1 counts for 2 classes"),
    "path": (put("../x", "splits", "train", "shards", 0, "file"), "plain file name"),
    "shard key": (
        lambda d: d["splits"]["test"]["shards"][1].pop("bytes"),
        r"shards\[1\]: bytes is",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_manifest(case: str, tmp_path: Path) -> None:
    change, message = BROKEN[case]
    example(tmp_path).write(tmp_path)
    data = json.loads((tmp_path / "manifest.json").read_text())
    change(data)
    (tmp_path / "manifest.json").write_text(json.dumps(data))
    with pytest.raises(UserError, match=message) as caught:
        Manifest.read(tmp_path)
    assert str(tmp_path / "manifest.json") in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "[]", "{", "3", '"mtln-records"', "\udcff"])
def test_not_a_manifest(text: str, tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(UserError, match=r"manifest\.json: (cannot be read|must be a JSON object)"):
        Manifest.read(tmp_path)


def test_missing_folder_and_manifest(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="gone: no such folder"):
        Manifest.read(tmp_path / "gone")
    with pytest.raises(UserError, match=r"no manifest\.json"):
        Manifest.read(tmp_path)


@pytest.mark.parametrize("name", ["train.mindrecord1", "test.mindrecord0.db"])
def test_missing_or_cut_shards(name: str, tmp_path: Path) -> None:
    example(tmp_path).write(tmp_path)
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(UserError, match=f"{name}: damaged: 1 bytes"):
        Manifest.read(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(UserError, match=f"{name}: missing"):
        Manifest.read(tmp_path)


def test_reading_imports_no_mindspore(tmp_path: Path) -> None:
    example(tmp_path).write(tmp_path)
    code = (
        "import sys, pathlib; from train.data.records import Manifest;"
        f"Manifest.read(pathlib.Path({str(tmp_path)!r}));"
        "assert not any(name in sys.modules for name in ('mindspore', 'numpy', 'PIL'))"
    )
    root = ROOT
    subprocess.run([sys.executable, "-c", code], check=True, cwd=root)


def test_shards_hold_every_record_in_order(tmp_path: Path) -> None:
    import mindspore.dataset as ds

    records = [Record(bytes([n % 251]) * (n + 1), n % 3, f"k/{n}") for n in range(300)]
    split = write_split(tmp_path, "val", iter(records), 300, Layout(4, 2**20, 2**20), 3)
    assert split.records == 300 and split.per_class == (100, 100, 100)
    paths = [str(tmp_path / shard.file) for shard in split.shards]
    rows = ds.MindDataset(paths, shuffle=False).create_dict_iterator(
        num_epochs=1, output_numpy=True
    )
    found = [Record(row["image"].tobytes(), int(row["label"]), str(row["key"])) for row in rows]
    # In stretches, so that the numbers of records do not depend on the number of shards.
    assert found == records
    for shard in split.shards:
        assert shard.sha256 == sha256_file(tmp_path / shard.file)
        assert shard.index_sha256 == sha256_file(tmp_path / f"{shard.file}.db")
        assert shard.bytes == (tmp_path / shard.file).stat().st_size < 3 * 2**20


def test_record_larger_than_a_page_is_named(tmp_path: Path) -> None:
    records = [Record(b"x" * 40_000, 0, "a/large.png")]
    with pytest.raises(UserError, match=r"a/large\.png: takes 40000 bytes"):
        write_split(tmp_path, "train", records, 1, Layout(1, 32 * 2**10, 2**20), 1)


def test_failed_writing_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="could not be written") as caught:
        write_split(tmp_path / "gone", "train", [Record(b"x", 0, "k")], 1, Layout(), 1)
    assert "\n" not in str(caught.value)

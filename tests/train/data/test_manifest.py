"""The manifest: written, read, and what it refuses."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.paths import ROOT
from train.data.manifest import Listing, Manifest, RecordSet, Shard, Split
from train.errors import UserError


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


def test_what_is_written(tmp_path: Path) -> None:
    """Byte by byte: the digest of a manifest tells whether a data set was made anew."""
    example(tmp_path).write(tmp_path)
    lines = (tmp_path / "manifest.json").read_text(encoding="utf-8").split("\n")
    assert lines[:5] == [
        "{",
        '  "format": "mtln-records",',
        '  "version": 3,',
        '  "name": "toy",',
        '  "classes": [',
    ]
    digest = hashlib.sha256((tmp_path / "manifest.json").read_bytes()).hexdigest()
    assert digest == "9f2a22623ec85555dffa9f98d499f96dbcb3e4e83bb10b71efbb3cb0cc40b479"


def test_records_are_numbered_through_the_shards(tmp_path: Path) -> None:
    record_set = RecordSet("toy", tmp_path, example(tmp_path))
    assert [numbers for _, numbers in record_set.shards("train")] == [range(3), range(3, 5)]
    assert record_set.num_records("train") == 5
    assert list(record_set.shards("val")) == [] and record_set.num_records("val") == 0


Data = dict[str, Any]


def put(value: object, *path: Any) -> Callable[[Data], None]:
    def change(data: Data) -> None:
        for key in path[:-1]:
            data = data[key]
        data[path[-1]] = value

    return change


TRAIN = ("splits", "train")
SHARD = (*TRAIN, "shards", 0)
COVER = {"classes": ["x", "y"], "ignore_index": 255}
BROKEN: dict[str, tuple[Callable[[Data], object], str]] = {
    "format": (put("other", "format"), "format must be 'mtln-records', not 'other'"),
    "version": (
        put(1, "version"),
        "version 1 is not known here (3 is): prepare the data again",
    ),
    "missing key": (lambda d: d.pop("mean"), "mean: missing"),
    "type": (put(3, "classes"), "classes: must be a list, not 3"),
    "no object": (put([], "listing"), "listing: must hold keys and values, not []"),
    "item type": (
        put(["a", 1], "classes"),
        "classes.1: must be a text (in quotes, if it looks like a number), not 1",
    ),
    "bool": (
        put(True, *TRAIN, "records"),
        "splits.train.records: must be a whole number, not True",
    ),
    "float": (put(5.0, *TRAIN, "records"), "splits.train.records: must be a whole number, not 5.0"),
    "text": (put("5", *TRAIN, "records"), "splits.train.records: must be a whole number, not '5'"),
    "same classes": (
        put(["a", "a"], "classes"),
        "classes: must be different names, at least one if there are no masks",
    ),
    "no classes": (
        put([], "classes"),
        "classes: must be different names, at least one if there are no masks",
    ),
    "no train": (
        lambda d: d["splits"].pop("train"),
        "splits: must hold train and may hold val and test, but holds test",
    ),
    "strange split": (
        lambda d: d["splits"].update(dev=d["splits"]["test"]),
        "splits: must hold train and may hold val and test, but holds train, test, dev",
    ),
    "mean": (put([0.1, 0.2], "mean"), "mean.2: missing"),
    "four means": (
        put([0.1] * 4, "mean"),
        "mean: must have at most 3 values, not [0.1, 0.1, 0.1, 0.1]",
    ),
    "mean above one": (put([0.1, 0.2, 1.5], "mean"), "mean.2: must be at most 1.0, not 1.5"),
    "std": (put([0.1, 0.2, 0], "std"), "std.2: must be at least 1e-09, not 0"),
    "nan": (put([0.1, 0.2, float("nan")], "std"), "std.2: must be a finite number, not nan"),
    "image": (put("gif", "image", "format"), "image.format: must be one of jpeg, png"),
    "counts": (
        put([3, 3], *TRAIN, "per_class"),
        "splits.train: records and the sum of per_class differ",
    ),
    "negative count": (
        put([6, -1], *TRAIN, "per_class"),
        "splits.train.per_class.1: must be at least 0, not -1",
    ),
    "sum": (put(9, *SHARD, "records"), "splits.train: records and the sum over the shards differ"),
    "empty shard": (
        put(0, *SHARD, "records"),
        "splits.train.shards.0.records: must be at least 1, not 0",
    ),
    "classes": (put([5], *TRAIN, "per_class"), "splits.train.per_class: 1 counts for 2 classes"),
    "path": (
        put("../x", *SHARD, "file"),
        "splits.train.shards.0.file: must be a plain file name, not '../x'",
    ),
    "shard key": (
        lambda d: d["splits"]["test"]["shards"][1].pop("bytes"),
        "splits.test.shards.1.bytes: missing",
    ),
    "no pixels": (
        put({"cover": COVER}, "masks"),
        "splits.train.pixels.cover: must hold a count per class and one of those without",
    ),
    "no mask classes": (
        put({"cover": {**COVER, "classes": []}}, "masks"),
        "masks.cover.classes: must have at least 1 value(s), not []",
    ),
    "same mask classes": (
        put({"cover": {**COVER, "classes": ["x", "x"]}}, "masks"),
        "masks.cover.classes: must be different names",
    ),
    "ignored value": (
        put({"cover": {**COVER, "ignore_index": 0}}, "masks"),
        "masks.cover.ignore_index: must be 255, not 0",
    ),
    "two at once": (
        lambda d: d.update(mean=3, std=4),
        "mean: must be a list, not 3",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_manifest(case: str, tmp_path: Path) -> None:
    change, message = BROKEN[case]
    example(tmp_path).write(tmp_path)
    path = tmp_path / "manifest.json"
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))
    with pytest.raises(UserError) as caught:
        Manifest.read(tmp_path)
    assert str(caught.value) == f"{path}: {message}"


@pytest.mark.parametrize(
    "change",
    [
        put([0.1, 0.3, 0.2], "mean"),
        put(["b", "a"], "classes"),
        put("ab", *SHARD, "sha256"),
        put("other", "source", "path"),
        put("0" * 64, "digest"),
        lambda data: data.pop("digest"),
    ],
    ids=["mean", "classes", "digest of a shard", "source", "digest", "no digest"],
)
def test_a_manifest_that_was_changed_is_damaged(
    change: Callable[[Data], object], tmp_path: Path
) -> None:
    """What is allowed, but is not what was written: it would train something else."""
    example(tmp_path).write(tmp_path)
    path = tmp_path / "manifest.json"
    data = json.loads(path.read_text())
    path.write_text(json.dumps(data))  # laid out otherwise: the same manifest
    Manifest.read(tmp_path)
    change(data)
    path.write_text(json.dumps(data))
    with pytest.raises(UserError, match=r"manifest\.json: damaged, or changed by hand"):
        Manifest.read(tmp_path)


@pytest.mark.parametrize("text", ["[" * 100_000, "", "[]", "{", "3", '"mtln-records"', "\udcff"])
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
        "import sys, pathlib; from train.data.manifest import Manifest;"
        f"Manifest.read(pathlib.Path({str(tmp_path)!r}));"
        "assert not any(name in sys.modules for name in ('mindspore', 'numpy', 'PIL'))"
    )
    root = ROOT
    subprocess.run([sys.executable, "-c", code], check=True, cwd=root)

"""Evaluation batches out of real MindRecord files."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.train.data.spoil import contents, declare_whole, spoil_record
from train.data import loader as loading
from train.data.damage import DamageWatch
from train.data.loader import EvaluationLoader
from train.data.manifest import Manifest, RecordSet
from train.data.pipeline import Columns, transformed_batches
from train.errors import UserError

# Images in the test split.
RECORDS = {"town": 5, "land": 7}
WANTED = {"town": ("cover",), "land": ("roads", "cover")}
# Red of the pixels whose class in "cover" is 0, 2 and none; in "roads" it is 1, none and 0.
COLOURS = np.array([0, 100, 240], np.uint8)
VALUES = {"cover": np.array([0, 2, 255], np.uint8), "roads": np.array([1, 255, 0], np.uint8)}
CLASSES = ["a", "b", "c"]


@pytest.fixture(scope="module")
def masked(tmp_path_factory: pytest.TempPathFactory) -> list[RecordSet]:
    from tools.__main__ import main

    root = tmp_path_factory.mktemp("evaluation")
    (root / "classes.json").write_text(json.dumps(CLASSES))
    rng = np.random.default_rng(0)
    for name, count in RECORDS.items():
        write_pictures(rng, root / name, count)
        options = ["--table", str(root / name / "table.csv"), "--format", "png", "--workers", "1"]
        options += ["--duplicates", "allow", "--shards", "2"]
        for space in VALUES:
            options += ["--masks", f"{space}={root / name / space}", "--ignore", f"{space}=255"]
            options += ["--mask-classes", f"{space}={root / 'classes.json'}"]
        source, out = str(root / name / "pictures"), str(root / "records" / name)
        assert main(["prepare", source, "--out", out, *options]) == 0
    folders = {name: root / "records" / name for name in RECORDS}
    return [RecordSet(name, folder, Manifest.read(folder)) for name, folder in folders.items()]


def write_pictures(rng: np.random.Generator, folder: Path, count: int) -> None:
    """16 x 12 pixels, whose red tells their class, and whose green the number of the picture."""
    for part in ("pictures", *VALUES):
        (folder / part).mkdir(parents=True)
    rows = ["path,label,split"]
    for number in range(count + 2):
        blocks = rng.integers(0, 3, (3, 4)).repeat(4, 0).repeat(4, 1)
        red = COLOURS[blocks]
        blue = rng.integers(0, 256, red.shape, np.uint8)
        picture = np.stack([red, np.full_like(red, 10 * number), blue], -1)
        Image.fromarray(picture).save(folder / f"pictures/{number}.png")
        for space, values in VALUES.items():
            Image.fromarray(values[blocks]).save(folder / f"{space}/{number}.png")
        rows.append(f"{number}.png,scene{number % 2},{'test' if number < count else 'train'}")
    (folder / "table.csv").write_text("\n".join(rows) + "\n")


def read(
    sets: list[RecordSet], size: int, rank: int = 0, world_size: int = 1
) -> list[tuple[np.ndarray, ...]]:
    watch = DamageWatch(sets)
    return list(EvaluationLoader(sets, size, 4, watch, rank, world_size, WANTED).batches("test"))


@pytest.mark.parametrize("world_size", [1, 3])
def test_every_record_once_with_its_masks(masked: list[RecordSet], world_size: int) -> None:
    batches = [b for rank in range(world_size) for b in read(masked, 12, rank, world_size)]
    assert {tuple((x.shape, str(x.dtype)) for x in batch) for batch in batches} == {
        (
            *[((2, 12, 12, 3), "uint8")] * 2,
            *[((2,), "int32")] * 2,
            *[((2, 12, 12), "uint8")] * 3,
        )
    }
    found: list[list[int]] = [[], []]
    for *images_and_labels, town_cover, land_roads, land_cover in batches:
        masks_of = [{"cover": town_cover}, {"roads": land_roads, "cover": land_cover}]
        for d, masks in enumerate(masks_of):
            images, labels = images_and_labels[d], images_and_labels[2 + d]
            numbers = images[:, 0, 0, 1] // 10
            filled = labels >= 0
            assert (labels[filled] == numbers[filled] % 2).all() and (labels[~filled] == -1).all()
            found[d] += numbers[filled].tolist()
            for space, mask in masks.items():
                classes = VALUES[space][np.searchsorted(COLOURS, images[..., 0])]
                np.testing.assert_array_equal(mask[filled], classes[filled])
                assert (mask[~filled] == 255).all()
    assert [sorted(f) for f in found] == [list(range(n)) for n in RECORDS.values()]


def test_a_mask_gets_the_geometry_of_its_image_and_is_never_blended(
    masked: list[RecordSet],
) -> None:
    """Where a shrunk image shows the colour of a class unmixed, its mask says this class."""
    batches = read(masked, 8)
    filled = np.concatenate([batch[3] for batch in batches]) >= 0
    red = np.concatenate([batch[1][..., 0] for batch in batches])[filled]
    masks = np.concatenate([batch[6] for batch in batches])[filled]
    unmixed = np.isin(red, COLOURS)
    classes = VALUES["cover"][np.searchsorted(COLOURS, red[unmixed])]
    np.testing.assert_array_equal(masks[unmixed], classes)
    assert set(np.unique(masks)) == set(VALUES["cover"])
    assert 0.3 < unmixed.mean() < 0.9


def test_masks_only_where_they_are_wanted(masked: list[RecordSet]) -> None:
    watch = DamageWatch(masked)
    loader = EvaluationLoader(masked, 12, 4, watch, 0, 1, {"land": ("cover",)})
    assert {len(batch) for batch in loader.batches("test")} == {5}
    assert {len(b) for b in EvaluationLoader(masked, 12, 4, watch, 0, 1).batches("test")} == {4}
    assert list(loader.batches("val")) == []


def make_loader(sets: list[RecordSet], rank: int = 0, world_size: int = 1) -> EvaluationLoader:
    return EvaluationLoader(sets, 16, 9, DamageWatch(sets), rank, world_size)


def test_evaluation_pads_and_loses_nothing(sets: list[RecordSet]) -> None:
    for world_size in (1, 2, 3):
        labels: list[list[int]] = [[], [], []]
        for rank in range(world_size):
            for batch in make_loader(sets, rank, world_size).batches("test"):
                shapes = {x.shape for x in batch[:3]}
                assert sum(s[0] for s in shapes) <= 10
                for d in range(3):
                    labels[d] += [int(v) for v in batch[3 + d] if v >= 0]
        for d, record_set in enumerate(sets):
            expected = record_set.manifest.splits["test"].per_class
            assert np.bincount(labels[d]).tolist() == list(expected)


def test_evaluation_batches_all_have_one_shape(sets: list[RecordSet]) -> None:
    loader = make_loader(sets)
    shapes = {tuple(x.shape for x in b) for split in ("val", "test") for b in loader.batches(split)}
    # 9 images by the 15, 12 and 14 records of the longer of both splits.
    assert shapes == {(*[(3, 16, 16, 3)] * 3, *[(3,)] * 3)}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["checksum", "whole shard", "shard is gone"])
def test_damaged_records_are_left_out_and_named(coast: RecordSet, kind: str) -> None:
    """All others come once, each rank's from its own; nobody has looked for damage before."""
    labels = np.array([int(label) for label in contents(coast, "test", "label")])
    bad = {"checksum": [2, 6], "whole shard": [2, 6, 13], "shard is gone": [*range(7, 14)]}[kind]
    if kind == "shard is gone":
        (coast.folder / "test.mindrecord1").unlink()
        met = [bad, bad]
    else:
        for number in bad:
            spoil_record(coast, "test", number)
        met = [[2, 6], bad[2:]]  # rank 1 has the odd records
    if kind == "whole shard":
        coast = declare_whole(coast)
    found = []
    for rank in range(2):
        watch = DamageWatch([coast])
        loader = EvaluationLoader([coast], 16, 4, watch, rank, 2)
        found += [label for batch in loader.batches("test") for label in batch[1] if label >= 0]
        names = [line.partition(" of test")[0] for line in watch.damages]
        assert names == [f"coast: record {number}" for number in met[rank]]
    assert sorted(found) == sorted(np.delete(labels, bad))


def test_records_before_a_damaged_one_come_once(
    coast: RecordSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil_record(coast, "test", 6)
    coast = declare_whole(coast)

    def fail_after_two(records: Any, *arguments: Any) -> Iterator[Columns]:
        monkeypatch.undo()
        yield from transformed_batches(records.take(2), *arguments)
        raise RuntimeError("cannot read on")

    monkeypatch.setattr(loading, "transformed_batches", fail_after_two)
    loader = EvaluationLoader([coast], 16, 1, DamageWatch([coast]), 0, 1)
    found = np.concatenate([batch[1] for batch in loader.batches("test")])
    labels = np.array([int(label) for label in contents(coast, "test", "label")])
    np.testing.assert_array_equal(found, np.delete(labels, 6))


def test_evaluation_that_fails_for_another_reason(
    coast: RecordSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("[ERROR] out of memory")

    monkeypatch.setattr(loading, "transformed_batches", fail)
    loader = EvaluationLoader([coast], 16, 4, DamageWatch([coast]), 0, 1)
    with pytest.raises(UserError, match=r"coast: test cannot be read.*: \[ERROR\] out of memory"):
        list(loader.batches("test"))

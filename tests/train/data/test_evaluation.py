"""Evaluation batches with masks, out of real MindRecord files."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from train.data.damage import DamageWatch
from train.data.evaluation_loader import EvaluationLoader
from train.data.record_set import RecordSet
from train.data.records import Manifest

# Images in the test split.
RECORDS = {"town": 5, "land": 7}
WANTED = {"town": ("cover",), "land": ("roads", "cover")}
# Red of the pixels whose class in "cover" is 0, 2 and none; in "roads" it is 1, none and 0.
COLOURS = np.array([0, 100, 240], np.uint8)
VALUES = {"cover": np.array([0, 2, 255], np.uint8), "roads": np.array([1, 255, 0], np.uint8)}
CLASSES = ["a", "b", "c"]


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> list[RecordSet]:
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
    watch = DamageWatch(sets, "stop")
    return list(EvaluationLoader(sets, size, 4, watch, rank, world_size, WANTED).batches("test"))


@pytest.mark.parametrize("world_size", [1, 3])
def test_every_record_once_with_its_masks(sets: list[RecordSet], world_size: int) -> None:
    batches = [b for rank in range(world_size) for b in read(sets, 12, rank, world_size)]
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


def test_a_mask_gets_the_geometry_of_its_image_and_is_never_blended(sets: list[RecordSet]) -> None:
    """Where a shrunk image shows the colour of a class unmixed, its mask says this class."""
    batches = read(sets, 8)
    filled = np.concatenate([batch[3] for batch in batches]) >= 0
    red = np.concatenate([batch[1][..., 0] for batch in batches])[filled]
    masks = np.concatenate([batch[6] for batch in batches])[filled]
    unmixed = np.isin(red, COLOURS)
    classes = VALUES["cover"][np.searchsorted(COLOURS, red[unmixed])]
    np.testing.assert_array_equal(masks[unmixed], classes)
    assert set(np.unique(masks)) == set(VALUES["cover"])
    assert 0.3 < unmixed.mean() < 0.9


def test_masks_only_where_they_are_wanted(sets: list[RecordSet]) -> None:
    watch = DamageWatch(sets, "stop")
    loader = EvaluationLoader(sets, 12, 4, watch, 0, 1, {"land": ("cover",)})
    assert {len(batch) for batch in loader.batches("test")} == {5}
    assert {len(b) for b in EvaluationLoader(sets, 12, 4, watch, 0, 1).batches("test")} == {4}
    assert list(loader.batches("val")) == []

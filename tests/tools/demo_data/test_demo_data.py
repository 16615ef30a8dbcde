"""python -m tools demo-data."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.tools.commands import Tools
from tests.tools.data_sets import manifest_json, read_records
from tools.__main__ import main
from tools.demo_data.draw import SETS, Job, draw
from train.data.manifest import Manifest


def digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
    }


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("made") / "deep" / "demo"
    arguments = ["--images-per-class", "5", "--seed", "7", "--workers", "2"]
    assert main(["demo-data", "--out", str(out), *arguments]) == 0
    return out


def test_data_sets_differ_and_say_what_they_are(demo: Path) -> None:
    out = demo
    shapes = {}
    for name in SETS:
        manifest = Manifest.read(out / "records" / name)
        shapes[name] = (len(manifest.classes), manifest.image["height"], manifest.image["width"])
        assert {n: s.records // len(manifest.classes) for n, s in manifest.splits.items()} == {
            "train": 3,
            "val": 1,
            "test": 1,
        }
        assert manifest.notes["duplicates_across_splits"] == 0
        for data, label, key in read_records(out / "records" / name, "test"):
            assert (out / "images" / name / key).read_bytes() == data
            assert key.startswith(manifest.classes[label] + "/")
        assert str(out) not in json.dumps(manifest_json(out / "records" / name))
    assert shapes == {
        "demo_farmland": (4, [64, 64], [64, 64]),
        "demo_urban": (6, [96, 96], [96, 96]),
        "demo_coast": (5, [80, 80], [80, 80]),
    }
    assert "NOT remote-sensing images" in (out / "README.txt").read_text()
    with Image.open(out / "contact_sheet.png") as sheet:
        assert sheet.width > 800 and len(sheet.getcolors(1 << 24) or []) > 1000
    assert [path.name for path in out.parent.iterdir()] == ["demo"]


@pytest.mark.slow
def test_same_arguments_same_bytes_and_done_once(demo: Path, tools: Tools, tmp_path: Path) -> None:
    arguments = ("--images-per-class", 5, "--seed", 7)
    a = tmp_path / "a"
    assert tools("demo-data", "--out", a, *arguments, "--workers", 1).code == 0
    before = digests(a)
    assert before == digests(demo) and len(before) > 75
    again = tools("demo-data", "--out", a, *arguments)
    assert again.code == 0 and "already" in again.out and digests(a) == before

    other = tools("demo-data", "--out", a, "--images-per-class", 5, "--seed", 8)
    other.assert_error("--seed 7", "--overwrite")
    assert digests(a) == before
    next((a / "records" / "demo_coast").glob("train.mindrecord0")).write_bytes(b"")
    tools("demo-data", "--out", a, *arguments).assert_error("damaged", "--overwrite")
    assert tools("demo-data", "--out", a, *arguments, "--overwrite").code == 0
    assert digests(a) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a"]


@pytest.mark.parametrize(
    ("arguments", "part"),
    [(["--images-per-class", "2"], "5..10000"), (["--seed", "-1"], "--seed -1")],
)
def test_mistakes(arguments: list[str], part: str, tools: Tools, tmp_path: Path) -> None:
    tools("demo-data", "--out", tmp_path / "out", *arguments).assert_error(part)
    assert not list(tmp_path.iterdir())


def test_foreign_folder_is_left_alone(tools: Tools, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "file").write_text("mine")
    tools("demo-data", "--out", tmp_path / "out").assert_error("exists already")
    tools("demo-data", "--out", tmp_path / "out", "--overwrite").assert_error("not a folder made")
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "file"]


def test_every_seed_and_number_has_its_own_picture(tmp_path: Path) -> None:
    files = []
    for seed in (0, 1):
        (tmp_path / str(seed)).mkdir()
        draw(Job(str(tmp_path / str(seed)), "demo_farmland", "orchard", 0, 3, seed))
        files += [file.read_bytes() for file in (tmp_path / str(seed)).iterdir()]
    assert len(set(files)) == 6


@pytest.mark.parametrize("name", SETS)
def test_mean_colour_does_not_tell_the_classes(name: str, tmp_path: Path) -> None:
    """A linear classifier on the mean colour stays far from what a network reaches."""
    colours, labels = [], []
    classes = list(SETS[name].classes)
    for label, class_name in enumerate(classes):
        folder = tmp_path / class_name
        folder.mkdir()
        draw(Job(str(folder), name, class_name, 0, 16, seed=0))
        for file in folder.iterdir():
            with Image.open(file) as image:
                colours.append(np.asarray(image, np.float64).mean(axis=(0, 1)) / 255)
            labels.append(label)
    features = np.column_stack([colours, np.ones(len(labels))])
    targets = np.eye(len(classes))[labels]
    weights = np.linalg.lstsq(features, targets, rcond=None)[0]
    # On the pictures it was fitted to, so rather too high than too low.
    accuracy = np.mean(np.argmax(features @ weights, axis=1) == labels)
    assert accuracy < 0.72

"""Scenes that cannot be read: the others are computed first, and nothing of that is lost."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from tests.tools.predict.conftest import Predict
from tests.tools.predict.scenes.made_scenes import per_pixel, random_pixels, write_scene
from tools.predict.scenes import SceneOptions, check_scene, predict_scene
from tools.predict.share import Share

# Tiles as large as the pictures of other tests: their network is compiled already.
TILES = "--tile", 16, "--scenes"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A good scene; one that is cut off at its end; and a text, which is missed at once."""
    path = tmp_path / "scenes"
    path.mkdir()
    write_scene(path / "b good.tif", random_pixels(40, 30).astype(np.uint8))
    cut = write_scene(path / "c\ncut.tif", random_pixels(600, 400).astype(np.uint8))
    cut.write_bytes(cut.read_bytes()[:-3000])
    (path / "a text.tif").write_text("no picture")
    return path


def test_the_others_come_first(
    predict: Predict, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By two processes: the first one finds out what is cut off, and the second one tells it."""
    out = tmp_path / "out"
    monkeypatch.setenv("RANK_SIZE", "2")
    monkeypatch.setenv("RANK_ID", "0")
    ran = predict(folder, "--out", out, *TILES)
    assert ran.code == 0 and "c\\ncut.tif: 120,000 pixels" in ran.err
    monkeypatch.setenv("RANK_ID", "1")
    ran = predict(folder, "--out", out, *TILES)
    ran.assert_error(
        "2 unreadable scenes: ",
        "a text.tif (cannot be read: in no format that GDAL knows)",
        "cut.tif (cannot be read: truncated or damaged (",
        "--skip-unreadable",
    )
    assert not out.exists()
    ran = predict(folder, "--out", out, *TILES, "--skip-unreadable")
    assert ran.code == 0, ran.err
    assert "going on with what an earlier start has left: " in ran.out
    assert "1 scene, tasks" in ran.out and "2 unreadable left out (skipped.csv)" in ran.out
    with (out / "skipped.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [Path(row["file"]).name for row in rows] == ["a text.tif", "c\ncut.tif"]
    assert [path.name for path in (out / "scenes").iterdir()] == ["b good"]
    about = json.loads((out / "predict.json").read_text())
    assert about["skipped"] == 2 and len(about["scene_files"]) == 1
    assert sorted(about["tasks"]) == ["coast", "coast_pixels", "fields", "roofs"]
    assert about["device"] == "CPU"


def test_nothing_to_keep(predict: Predict, folder: Path, tmp_path: Path) -> None:
    ran = predict(folder / "a text.tif", "--out", tmp_path / "out", *TILES)
    ran.assert_error("1 unreadable scene: ", "which lists all in skipped.csv)")
    assert not list(tmp_path.glob(".out*"))


def test_what_is_known_before(tmp_path: Path) -> None:
    """Pieces that are there are counted; values that use little of 16 bits are noted."""
    pixels = random_pixels(90, 70, most=3000).astype(np.uint16)
    pixels[:, :, :60] = 0
    scene = write_scene(tmp_path / "s.tif", pixels, nodata=0)
    model, to = per_pixel("segmentation", "scene"), tmp_path / "made"
    to.mkdir()
    what = model, scene, "s", to, SceneOptions(32, scene_tile=20), Share(0, 2)
    look = check_scene(scene, "s", model, what[4], to)
    assert look.done == 0 and look.pieces == 2
    assert look.spread is not None and 0 < look.spread[0] < 1000 < look.spread[1] < 3000
    predict_scene(*what, lambda pixels: None)
    predict_scene(*what[:-1], Share(1, 2), lambda pixels: None)
    assert check_scene(scene, "s", model, what[4], to)[1:] == (2, 2)
    known = SceneOptions(32, scene_tile=20, range=(0, 3000))
    assert check_scene(scene, "s", model, known, to).spread is None

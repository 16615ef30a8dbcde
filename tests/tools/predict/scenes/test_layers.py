"""Grids of scene tasks and polygons of segmentation tasks."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import pytest
import rasterio
from rasterio.features import geometry_mask
from rasterio.warp import transform

from tests.tools.predict.scenes.made_scenes import (
    CLASSES,
    TRANSFORM,
    UTM,
    PerPixel,
    predict,
    random_pixels,
    write_scene,
)
from tools.predict.scenes import SceneOptions, grid


def features_of(path: Path) -> list[dict[str, Any]]:
    found = json.loads(path.read_text(encoding="utf-8"))
    assert found["type"] == "FeatureCollection"
    features: list[dict[str, Any]] = found["features"]
    return features


def ring_area(ring: list[list[float]]) -> float:
    x, y = np.array(ring).T
    return float((x[:-1] * y[1:] - x[1:] * y[:-1]).sum() / 2)


def test_grid_of_a_scene_task(tmp_path: Path) -> None:
    """2 x 3 squares and what is left of them; the last ones are seen whole."""
    pixels = random_pixels(70, 40).astype(np.uint8)
    pixels[:, :16, :16] = 0
    pixels[:, 16:20, :] = 0
    scene, model = write_scene(tmp_path / "s.tif", pixels, nodata=0), PerPixel("scene")
    files = predict(scene, model, tmp_path / "out", SceneOptions())
    features = features_of(files["out_kind.geojson"])
    places = [(f["properties"]["row"], f["properties"]["column"]) for f in features]
    assert places == [(r, c) for r in range(3) for c in range(5) if (r, c) != (0, 0)]
    for feature, (row, column) in zip(features, places, strict=True):
        top, left = min(row * 16, 40 - 16), min(column * 16, 70 - 16)
        square = np.moveaxis(pixels[:, top : top + 16, left : left + 16], 0, -1)
        about = feature["properties"]
        scores = model.scenes(square[None])[0]
        assert about["class"] == ("dark", "bright")[scores.argmax()]
        assert about["probability"] == pytest.approx(scores.max(), abs=1e-4)
        assert about["valid"] == (0.75 if row == 1 else 1)
        [ring] = feature["geometry"]["coordinates"]
        # Counterclockwise, as RFC 7946 asks for, and where the square is.
        assert ring_area(ring) > 0
        x, y = transform("EPSG:4326", UTM, *np.array(ring).T)
        columns, rows = ~TRANSFORM * (np.array(x), np.array(y))
        bounds = [columns.min(), columns.max(), rows.min(), rows.max()]
        expected = [column * 16, min(column * 16 + 16, 70), row * 16, min(row * 16 + 16, 40)]
        np.testing.assert_allclose(bounds, expected, atol=0.01)


def test_squares_are_resized_as_in_an_evaluation(tmp_path: Path) -> None:
    """Twice as large as what the network sees: MindSpore's own operator is the judge."""
    from mindspore.dataset import vision
    from mindspore.dataset.vision import Inter

    pixels = random_pixels(32, 32).astype(np.uint8)
    model = PerPixel("scene")
    scene = write_scene(tmp_path / "s.tif", pixels)
    predict(scene, model, tmp_path / "out", SceneOptions(scene_tile=32))
    expected = vision.Resize(16, Inter.LINEAR)(np.ascontiguousarray(np.moveaxis(pixels, 0, -1)))
    np.testing.assert_array_equal(model.asked[0], expected[None])


@pytest.mark.parametrize("vector", ["geojson", "gpkg"])
def test_polygons_are_not_cut_at_tiles_or_blocks(
    tmp_path: Path, vector: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A frame of one class over all tiles, with another one in it, is one polygon with a hole."""
    monkeypatch.setattr(grid, "_BLOCK", 50)
    model = PerPixel()
    colours = np.random.default_rng(1).integers(0, 255, (500, 3)).astype(np.uint8)
    classes = model.pixels(colours[None, None])[0, :, 0].argmax(0)
    frame, inner = (colours[classes == c][0] for c in (1, 2))
    pixels = np.empty((150, 130, 3), np.uint8)
    pixels[:], pixels[20:120, 30:90] = frame, inner
    scene = write_scene(tmp_path / "s.tif", np.moveaxis(pixels, -1, 0))
    options = SceneOptions(32, polygons=True, vector=vector)
    path = predict(scene, model, tmp_path / "out", options)[f"out_cover.{vector}"]
    if vector == "geojson":
        features = features_of(path)
        found = {f["properties"]["class"]: f["properties"]["pixels"] for f in features}
        outer, hole = features[[f["properties"]["pixels"] for f in features].index(13_500)][
            "geometry"
        ]["coordinates"]
        assert ring_area(outer) > 0 > ring_area(hole)
    else:
        about, _, shapes, values = pyogrio.raw.read(path)
        assert (about["crs"], about["geometry_type"]) == (UTM, "Polygon")
        found = dict(zip(*values, strict=True))
        assert len(shapes) == 2
    assert found == {CLASSES[1]: 150 * 130 - 100 * 60, CLASSES[2]: 100 * 60}


def test_polygons_are_the_class_map(tmp_path: Path) -> None:
    """Drawn again, by rasterio, they give the map; pixels are their corners without transform."""
    pixels = random_pixels(40, 30).astype(np.uint8)
    scene = write_scene(tmp_path / "s.tif", pixels, crs=None, transform=None)
    options = SceneOptions(16, polygons=True)
    files = predict(scene, PerPixel(), tmp_path / "out", options)
    assert (
        "it has no transform: coordinates of polygons are pixels"
        in files["out_cover.geojson"].read_text()
    )
    with rasterio.open(files["out_cover.tif"]) as file:
        classes = file.read(1)
    drawn = np.full((30, 40), 255)
    for feature in features_of(files["out_cover.geojson"]):
        inside = ~geometry_mask([feature["geometry"]], (30, 40), rasterio.Affine.identity())
        assert inside.sum() == feature["properties"]["pixels"] and (drawn[inside] == 255).all()
        drawn[inside] = CLASSES.index(feature["properties"]["class"])
    np.testing.assert_array_equal(drawn, classes)

"""What has no data in a scene has none in what is made of it."""

from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import pytest
import rasterio
from rasterio.enums import ColorInterp

from tests.tools.predict.scenes.made_scenes import PerPixel, predict, random_pixels, write_scene
from tools.predict.scenes import SceneOptions

_HOLE = np.zeros((80, 120), bool)
# A corner, whose tiles are not computed, and a spot.
_HOLE[:, 64:] = True
_HOLE[10:13, 20:25] = True


def _with_value(path: Path, pixels: np.ndarray) -> Path:
    return write_scene(path, np.where(_HOLE, 0, pixels).astype(np.uint8), nodata=0)


def _with_alpha(path: Path, pixels: np.ndarray) -> Path:
    four = np.concatenate([pixels, np.where(_HOLE, 0, 255)[None]]).astype(np.uint8)
    write_scene(path, four, photometric="RGB")
    with rasterio.open(path, "r+") as file:
        file.colorinterp = [ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha]
    return path


def _with_mask(inside: bool) -> Any:
    def write(path: Path, pixels: np.ndarray) -> Path:
        write_scene(path, pixels.astype(np.uint8))
        with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=inside), rasterio.open(path, "r+") as file:
            file.write_mask(~_HOLE)
        assert Path(f"{path}.msk").exists() != inside
        return path

    return write


def _with_nan(path: Path, pixels: np.ndarray) -> Path:
    values = pixels.astype(np.float32)
    values[1, _HOLE] = np.nan
    return write_scene(path, values)


@pytest.mark.parametrize(
    "write",
    [_with_value, _with_alpha, _with_mask(True), _with_mask(False), _with_nan],
    ids=["value", "alpha", "mask inside", "mask beside", "nan"],
)
def test_hole_stays_and_is_not_computed(tmp_path: Path, write: Any) -> None:
    pixels = random_pixels(120, 80)
    scene = write(tmp_path / "s.tif", pixels)
    options = SceneOptions(32, 24, probabilities="float32", range=(0, 255))
    model = PerPixel()
    files = predict(scene, model, tmp_path / "out", options)
    expected = model.pixels(np.moveaxis(pixels, 0, -1)[None].astype(np.uint8))[0]
    with rasterio.open(files["out_cover.tif"]) as file:
        assert file.nodata == 255
        np.testing.assert_array_equal(file.read(1) == 255, _HOLE)
    with rasterio.open(files["out_cover_probabilities.tif"]) as file:
        found = file.read()
        np.testing.assert_array_equal(np.isnan(found), np.broadcast_to(_HOLE, found.shape))
        np.testing.assert_allclose(found[:, ~_HOLE], expected[:, ~_HOLE], atol=1e-6)
    # Rows of 3 tiles from 0, 24 and 48 across; those from 72 and 88 see nothing.
    tiles = np.concatenate(model.asked)
    assert len(tiles) == 3 * 3
    # What is no data is black to the network.
    assert (tiles[0][10:13, 20:25] == 0).all()


@pytest.mark.parametrize("vector", ["geojson", "gpkg"])
def test_scene_of_nothing_but_nodata(tmp_path: Path, vector: str) -> None:
    scene = write_scene(tmp_path / "s.tif", np.zeros((3, 40, 50), np.uint8), nodata=0)
    model = PerPixel("segmentation", "scene")
    options = SceneOptions(32, polygons=True, vector=vector)
    files = predict(scene, model, tmp_path / "out", options)
    with rasterio.open(files["out_cover.tif"]) as file:
        assert (file.read(1) == 255).all()
    for task in ("kind", "cover"):
        if vector == "gpkg":
            assert len(pyogrio.raw.read(files[f"out_{task}.gpkg"])[2]) == 0
        else:
            assert '"features": [\n]' in files[f"out_{task}.geojson"].read_text()
    assert model.asked == []


def test_one_black_band_is_no_hole(tmp_path: Path) -> None:
    """A pixel is without data where all of its bands are."""
    pixels = np.full((3, 20, 20), 90, np.uint8)
    pixels[0] = 0
    scene = write_scene(tmp_path / "s.tif", pixels, nodata=0)
    files = predict(scene, PerPixel(), tmp_path / "out", SceneOptions(32))
    with rasterio.open(files["out_cover.tif"]) as file:
        assert (file.read(1) < 3).all()


def test_hole_is_black_whatever_the_range(tmp_path: Path) -> None:
    """Zero is grey in this one."""
    values = np.full((3, 20, 20), 50, np.float32)
    values[:, 5:9, 5:9] = np.nan
    scene, model = write_scene(tmp_path / "s.tif", values), PerPixel()
    predict(scene, model, tmp_path / "out", SceneOptions(32, range=(-100, 100)))
    [[tile]] = model.asked
    assert (tile[5:9, 5:9] == 0).all() and (tile[0, 0] == round(255 * 0.75)).all()

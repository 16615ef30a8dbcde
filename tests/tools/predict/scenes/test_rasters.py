"""Class maps and probabilities are what GIS programs expect, where the scene is."""

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.control import GroundControlPoint
from rasterio.crs import CRS
from rio_cogeo.cogeo import cog_validate

from tests.tools.predict.scenes.made_scenes import (
    CLASSES,
    TRANSFORM,
    UTM,
    PerPixel,
    predict,
    random_pixels,
    write_scene,
)
from tools.predict.palette import colours_of
from tools.predict.scenes import SceneOptions


@pytest.mark.parametrize("kind", ["uint8", "float32"])
def test_cloud_optimized_geotiffs(tmp_path: Path, kind: str) -> None:
    """Large enough for overviews; read by rasterio, judged by rio-cogeo."""
    pixels = random_pixels(1100, 700).astype(np.uint8)
    scene, model = write_scene(tmp_path / "s.tif", pixels), PerPixel()
    files = predict(scene, model, tmp_path / "out", SceneOptions(probabilities=kind))
    expected = model.pixels(np.moveaxis(pixels, 0, -1)[None])[0]
    for name in ("out_cover.tif", "out_cover_probabilities.tif"):
        valid, errors, warnings = cog_validate(files[name], strict=True, quiet=True)
        assert (valid, errors, warnings) == (True, [], [])
        with rasterio.open(files[name]) as file:
            assert (file.crs, file.transform) == (CRS.from_string(UTM), TRANSFORM)
            assert (file.width, file.height) == (1100, 700)
            assert file.overviews(1) == [2, 4]
            tags = file.tags()
            assert json.loads(tags["classes"]) == list(CLASSES)
            assert (tags["class_2"], tags["task"], tags["scene"]) == ("töwn", "cover", "s.tif")
    with rasterio.open(files["out_cover.tif"]) as file:
        assert (file.dtypes, file.nodata, file.descriptions) == (("uint8",), 255, ("cover",))
        table = file.colormap(1)
        colours = colours_of(model.blueprint, model.tasks[0])  # type: ignore[arg-type]
        assert [table[i] for i in range(3)] == [(*colour, 255) for colour in colours]
    # What GDAL reads beside it, for the legend.
    sidecar = files["out_cover.tif.aux.xml"].read_text(encoding="utf-8")
    assert "<Category>Wald &amp; Wiese</Category>" in sidecar
    with rasterio.open(files["out_cover_probabilities.tif"]) as file:
        assert file.descriptions == CLASSES
        found = file.read()
        if kind == "uint8":
            assert (file.nodata, file.scales) == (255, (1 / 254,) * 3)
            np.testing.assert_allclose(found / 254, expected, atol=0.5 / 254 + 1e-6)
        else:
            assert np.isnan(file.nodata)
            np.testing.assert_allclose(found, expected, atol=1e-6)


def test_scene_without_place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pixels = random_pixels(60, 50).astype(np.uint8)
    scene = write_scene(tmp_path / "s.tif", pixels, crs=None, transform=None)
    files = predict(scene, PerPixel(), tmp_path / "out", SceneOptions(32))
    with rasterio.open(files["out_cover.tif"]) as file:
        assert file.crs is None and file.transform.is_identity
    assert capsys.readouterr().out.startswith("note: s.tif: it has no transform: ")


def test_control_points_pass(tmp_path: Path) -> None:
    corners = [(0, 0, 14.0, 48.0), (0, 60, 14.1, 48.01), (50, 0, 14.01, 47.9)]
    points = [GroundControlPoint(*corner, z=3.0) for corner in corners]
    pixels = random_pixels(60, 50).astype(np.uint8)
    place = {"transform": None, "gcps": points, "crs": "EPSG:4326"}
    scene = write_scene(tmp_path / "s.tif", pixels, **place)
    files = predict(scene, PerPixel(), tmp_path / "out", SceneOptions(32))
    with rasterio.open(files["out_cover.tif"]) as file:
        found, crs = file.gcps
        assert crs == CRS.from_epsg(4326)
        assert [(p.row, p.col, p.x, p.y, p.z) for p in found] == [(*c, 3.0) for c in corners]


def test_rational_polynomials_pass(tmp_path: Path) -> None:
    scene = write_scene(tmp_path / "s.tif", random_pixels(60, 50).astype(np.uint8), crs=None)
    scales = {f"{axis}_{kind}": "10" for axis in _AXES for kind in ("OFF", "SCALE")}
    numbers = " ".join(["1", *["0"] * 19])
    terms = {f"{axis}_{part}_COEFF": numbers for axis in ("LINE", "SAMP") for part in _PARTS}
    with rasterio.open(scene, "r+") as file:
        file.update_tags(ns="RPC", **scales, **terms)
    files = predict(scene, PerPixel(), tmp_path / "out", SceneOptions(32))
    with rasterio.open(scene) as before, rasterio.open(files["out_cover.tif"]) as after:
        assert after.rpcs is not None and after.rpcs.to_dict() == before.rpcs.to_dict()


_AXES = ("LINE", "SAMP", "LAT", "LONG", "HEIGHT")
_PARTS = ("NUM", "DEN")


def test_bands_and_range(tmp_path: Path) -> None:
    """Thirteen bands of 16 bits, as the checkpoint says and as the command line does."""
    pixels = random_pixels(70, 40, 13, most=3000).astype(np.uint16)
    scene = write_scene(tmp_path / "s.tif", pixels)
    seen = np.moveaxis(pixels[[3, 2, 1]], 0, -1).astype(np.float32) * (255 / 3000)
    expected = PerPixel().pixels((seen + 0.5).astype(np.uint8)[None])[0]
    made = {"bands": [4, 3, 2], "range": [0, 3000]}
    for model, options in (
        (PerPixel(made=made), SceneOptions(32, probabilities="float32")),
        (PerPixel(), SceneOptions(32, bands=(4, 3, 2), range=(0, 3000), probabilities="float32")),
    ):
        out = tmp_path / f"out{len(list(tmp_path.iterdir()))}"
        files = predict(scene, model, out, options)
        with rasterio.open(files[f"{out.name}_cover_probabilities.tif"]) as file:
            np.testing.assert_allclose(file.read(), expected, atol=1e-6)

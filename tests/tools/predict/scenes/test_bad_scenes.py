"""What cannot be predicted is told in one line, and nothing is left that looks whole."""

import argparse
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.disks import with_disk
from tests.paths import ROOT
from tests.tools.predict.scenes.made_scenes import per_pixel, predict, random_pixels, write_scene
from tools.predict.scenes import Look, SceneOptions, add_arguments, check_scene, scene_size
from train.errors import UserError


def scene_of(folder: Path, bands: int = 3, **profile: Any) -> Path:
    pixels = random_pixels(90, 70, bands)
    return write_scene(folder / "s.tif", pixels.astype(profile.pop("dtype", "uint8")), **profile)


def look(scene: Path, model: Any, **options: Any) -> Look:
    return check_scene(scene, "the scene", model, SceneOptions(**options), scene.with_name("made"))


def told(scene: Path, model: Any = None, **options: Any) -> str:
    with pytest.raises(UserError) as error:
        look(scene, model or per_pixel(), **options)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    ("bands", "advice"),
    [(1, "1 band: choose three with --bands, as in --bands 1,1,1"), (13, "--bands 4,3,2")],
)
def test_number_of_bands(tmp_path: Path, bands: int, advice: str) -> None:
    scene = scene_of(tmp_path, bands)
    assert advice in told(scene) and told(scene).startswith("the scene: ")
    look(scene, per_pixel(), bands=(1, 1, 1))
    assert f"the scene: {bands} band" in told(scene, bands=(1, 1, 14))
    assert "asks for band 14" in told(scene, bands=(1, 1, 14))
    made = {"bands": [14, 1, 1], "range": None}
    learned = (
        f"{bands} band{'s' if bands > 1 else ''}, but the network has learned from bands 14,1,1"
    )
    assert learned in told(scene, per_pixel(made=made))


@pytest.mark.parametrize(
    ("dtype", "advice"),
    [
        ("float32", "floating-point pixels have no fixed range"),
        ("int32", "integer pixels outside 0..65535"),
        ("complex64", "complex values are no picture"),
    ],
)
def test_values_without_a_range(tmp_path: Path, dtype: str, advice: str) -> None:
    scene = write_scene(tmp_path / "s.tif", (random_pixels(90, 70) * 900).astype(dtype))
    assert advice in told(scene)
    if dtype != "complex64":
        assert "--range" in told(scene)
        look(scene, per_pixel(), range=(0, 230_000))


def test_data_sets_with_different_bands(tmp_path: Path) -> None:
    model, other = per_pixel(), per_pixel(made={"bands": [4, 3, 2], "range": [0, 3000]})
    other.inputs[0].name = "other"
    model.inputs += other.inputs
    scene = scene_of(tmp_path, 5)
    message = told(scene, model)
    assert message.startswith("the scene: the data sets of the tasks were prepared with different")
    assert "own: three bands of 8 bits; other: bands 4,3,2 with values from 0 to 3000" in message
    assert all(option in message for option in ("--bands", "--range", "--tasks"))
    look(scene, model, bands=(3, 2, 1), range=(0, 1))


def test_no_scene_at_all(tmp_path: Path) -> None:
    (tmp_path / "text.tif").write_text("no picture")
    assert told(tmp_path / "text.tif").startswith("the scene: cannot be read: ")
    assert "No such file" in told(tmp_path / "nothing.tif")
    with pytest.raises(UserError, match="cannot be read"):
        scene_size(tmp_path / "text.tif")
    assert scene_size(scene_of(tmp_path)) == (90, 70)


def test_truncated_scene(tmp_path: Path) -> None:
    """Its middle may be there: the end of it is missed while it is computed."""
    scene = write_scene(tmp_path / "s.tif", random_pixels(600, 600).astype(np.uint8))
    scene.write_bytes(scene.read_bytes()[:-100_000])
    with pytest.raises(UserError, match=r"^s.tif: cannot be read: [^\n]+$"):
        predict(scene, per_pixel(), tmp_path / "out", SceneOptions(32))
    assert {path.name for path in (tmp_path / "out").iterdir()} <= {"pieces"}
    assert not any((tmp_path / "out" / "pieces").iterdir())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--tile 8", "--tile 8: must be in 16..4096"),
        ("--stride 0", "--stride 0: must be in 1..4096"),
        ("--scene-tile 5000", "--scene-tile 5000: must be in 16..4096"),
        ("--bands 1,2", "--bands 1,2: must be R,G,B"),
        ("--bands 0,1,2", "--bands 0,1,2: must be R,G,B"),
        ("--range 5,5", "--range 5,5: must be LOW,HIGH with LOW below HIGH"),
        ("--range nan,1", "--range nan,1"),
    ],
)
def test_options(words: str, message: str) -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    with pytest.raises(UserError) as error:
        SceneOptions.of(parser.parse_args(words.split()))
    assert message in str(error.value)
    usual = SceneOptions.of(parser.parse_args([]))
    assert usual == SceneOptions()


def test_stride_above_the_tile(tmp_path: Path) -> None:
    assert "--stride 300: must not be larger than a tile (--tile 128)" in told(
        scene_of(tmp_path), stride=300
    )


_WITHOUT = """
import sys
from pathlib import Path
sys.modules["rasterio"] = None
from tools.predict.scenes import scene_size
from train.program.ending import exit_code
sys.exit(exit_code(lambda: scene_size(Path(sys.argv[1]))))
"""


def test_without_rasterio(tmp_path: Path) -> None:
    """And nothing of it is imported before a scene is opened."""
    command = [sys.executable, "-c", _WITHOUT, str(scene_of(tmp_path))]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    message = "error: scenes need rasterio: python -m pip install -r requirements-predict.txt\n"
    assert (ended.returncode, ended.stderr) == (2, message)
    assert (ROOT / "requirements-predict.txt").exists()


_ON_DISK = """
import sys
from pathlib import Path
from tests.tools.predict.scenes.made_scenes import per_pixel, predict
from tools.predict.scenes import SceneOptions
from train.program.ending import exit_code
disk, scene, vector = map(Path, sys.argv[1:])
options = SceneOptions(256, probabilities="float32", polygons=True, vector=str(vector))
code = exit_code(lambda: len(predict(scene, per_pixel(), disk / "s", options)))
print(code, sorted(path.name for path in (disk / "s").iterdir()))
"""


_MAP = "'s_cover.tif', 's_cover.tif.aux.xml'"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("size", "vector", "left"),
    [
        ("400k", "geojson", "['pieces']"),
        ("1500k", "geojson", f"['pieces', {_MAP}]"),
        ("5m", "gpkg", f"['pieces', {_MAP}, 's_cover_probabilities.tif']"),
    ],
    ids=["pieces", "raster", "layer"],
)
def test_full_disk(tmp_path: Path, size: str, vector: str, left: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (3, 300, 300)).astype(np.uint8)
    scene = write_scene(tmp_path / "s.tif", pixels)
    disk = tmp_path / "disk"
    command = [*with_disk(disk, size), sys.executable, "-c", _ON_DISK]
    ended = subprocess.run(
        [*command, str(disk), str(scene), vector], cwd=ROOT, capture_output=True, text=True
    )
    told = rf"error: {disk}/s/pieces/[^\n]*(No space left on device|cannot be written: )[^\n]*\n"
    assert re.fullmatch(told, ended.stderr), ended.stderr
    # Whatever has its name is whole.
    assert ended.stdout == f"2 {left}\n"

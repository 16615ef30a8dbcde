"""The same bytes from any number of processes, after any kill, and memory that stays."""

import hashlib
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.paths import ROOT
from tests.tools.predict.scenes.made_scenes import per_pixel, predict, random_pixels, write_scene
from tools.predict.scenes import SceneOptions, finish_scene, grid, predict_scene
from tools.predict.scenes.pieces import PIECES
from tools.predict.share import Share

_OPTIONS = SceneOptions(32, probabilities="float32", polygons=True, vector="gpkg")


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Twelve blocks of segmentation tasks, three pieces of squares."""
    monkeypatch.setattr(grid, "_BLOCK", 50)
    monkeypatch.setattr("tools.predict.scenes.cells._ROWS", 50)
    return write_scene(tmp_path / "s.tif", random_pixels(170, 110).astype(np.uint8))


def model() -> Any:
    return per_pixel("segmentation", "scene", batch=5)


def digests(folder: Path) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.iterdir()}


@pytest.fixture
def expected(scene: Path, tmp_path: Path) -> dict[str, str]:
    """What one process makes; the folder's name is in the files' names."""
    predict(scene, model(), tmp_path / "one" / "s", _OPTIONS)
    return digests(tmp_path / "one" / "s")


@pytest.mark.parametrize("processes", [2, 3, 20])
def test_any_number_of_processes(
    scene: Path, tmp_path: Path, expected: dict[str, str], processes: int
) -> None:
    predict(scene, model(), tmp_path / "s", _OPTIONS, processes)
    assert digests(tmp_path / "s") == expected


def test_bytes_do_not_depend_on_blocks_or_batches(
    scene: Path, tmp_path: Path, expected: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grid, "_BLOCK", 1000)
    predict(scene, per_pixel("segmentation", "scene", batch=64), tmp_path / "s", _OPTIONS)
    assert digests(tmp_path / "s") == expected


# Dies when it has been asked so often: in the middle of a block, or before the last one.
_DYING = """
import os, signal, sys
from pathlib import Path
from tests.tools.predict.scenes.made_scenes import PerPixel, predict
from tests.tools.predict.scenes.test_repeatable import _OPTIONS
from tools.predict.scenes import cells, grid

class Dying(PerPixel):
    def probabilities(self, images):
        if len(self.asked) == int(sys.argv[3]):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().probabilities(images)

grid._BLOCK = cells._ROWS = 50
predict(Path(sys.argv[1]), Dying("segmentation", "scene", batch=5), Path(sys.argv[2]), _OPTIONS)
"""


@pytest.mark.slow
def test_killed_and_called_again(scene: Path, tmp_path: Path, expected: dict[str, str]) -> None:
    before = model()
    predict(scene, before, tmp_path / "before", _OPTIONS)
    out = tmp_path / "s"
    for asked in (3, 12):
        command = [sys.executable, "-c", _DYING, str(scene), str(out), str(asked)]
        ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        assert ended.returncode == -9, ended.stderr
        assert {p.name for p in out.iterdir()} == {PIECES}
    again = model()
    predict(scene, again, out, _OPTIONS)
    assert digests(out) == expected
    # What was there was not computed again.
    assert len(again.asked) < len(before.asked) - 8


def test_killed_while_it_finishes(scene: Path, tmp_path: Path, expected: dict[str, str]) -> None:
    """Some files are there, some are half written among the pieces; or some pieces are gone."""
    out = tmp_path / "s"
    out.mkdir()
    predict_scene(model(), scene, "s.tif", out, _OPTIONS, Share(), lambda pixels: None)
    (out / PIECES / "s_cover.tif").write_bytes(b"half")
    (out / PIECES / "s_cover.gpkg").write_bytes(b"half")
    pieces = sorted((out / PIECES).glob("*_classes.raw"))
    assert len(pieces) == 12
    kept = [path.read_bytes() for path in pieces]
    finish_scene(model(), scene, "s.tif", out, _OPTIONS)
    assert digests(out) == expected
    (out / PIECES).mkdir()
    pieces[0].write_bytes(kept[0])
    again = model()
    predict(scene, again, out, _OPTIONS)
    assert digests(out) == expected and again.asked == []


@pytest.mark.slow
def test_memory_does_not_grow_with_the_scene(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In both directions: what arrays take at most, for five times as many pixels."""
    monkeypatch.setattr(grid, "_BLOCK", 64)
    monkeypatch.setattr("tools.predict.scenes.cells._ROWS", 64)
    peaks = []
    sizes = (640, 128), (128, 128), (640, 128), (128, 640)
    for number, (width, height) in enumerate(sizes):
        scene = write_scene(tmp_path / "s.tif", np.full((3, height, width), 80, np.uint8))
        asked = model()
        asked.asked = type("Nothing", (list,), {"append": lambda self, images: None})()
        tracemalloc.start()
        predict(scene, asked, tmp_path / str(number), SceneOptions(32))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    # The first one loads what is needed.
    assert max(peaks[2:]) < peaks[1] + 0.2e6

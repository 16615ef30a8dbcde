"""The whole command on a scene, with a network that was trained."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio

from tests.tools.commands import Outcome
from tests.tools.predict.scenes.made_scenes import random_pixels, write_scene
from tests.tools.predict.scenes.test_layers import features_of
from train.inference.checkpoint_source import choose_checkpoint
from train.inference.trained_model import TrainedModel
from train.run.checkpoint import load_checkpoint


@pytest.fixture
def model(trained_run: Path, models: Callable[..., TrainedModel]) -> TrainedModel:
    path = choose_checkpoint(trained_run, "newest", "run")
    options = {"tasks": None, "seen_as": None, "flips": False, "batch": 4, "device": "auto"}
    return models(load_checkpoint(path), path, **options)


def blended(model: TrainedModel, task: int, image: np.ndarray) -> np.ndarray:
    """Plainly: each tile of 16 x 16 times its window, over the sum of the windows."""
    height, width = image.shape[:2]
    line = np.sin(np.pi * (np.arange(16) + 0.5) / 16) ** 2
    window, weights = np.outer(line, line), np.zeros((height, width))
    total = np.zeros((len(model.tasks[task].classes), height, width))
    for top in (0, 12, height - 16):
        for left in (0, 12, 24, width - 16):
            place = np.s_[top : top + 16, left : left + 16]
            tile = np.ascontiguousarray(image[place])[None]
            total[:, place[0], place[1]] += model.probabilities(tile)[task][0] * window
            weights[place] += window
    result: np.ndarray = total / weights
    return result


@pytest.mark.slow
def test_scene_with_all_tasks(
    predict: Callable[..., Outcome], model: TrainedModel, tmp_path: Path
) -> None:
    pixels = random_pixels(45, 35).astype(np.uint8)
    scene = write_scene(tmp_path / "town.tif", pixels)
    out = tmp_path / "out"
    words = ("--tile", 16, "--stride", 12, "--scene-tile", 20, "--probabilities", "float32")
    outcome = predict(scene, "--out", out, *words)
    assert outcome.code == 0, outcome.err
    image = np.moveaxis(pixels, 0, -1)
    names = [task.name for task in model.tasks]
    folder = out / "scenes" / "town"
    with rasterio.open(folder / "town_coast_pixels_probabilities.tif") as file:
        expected = blended(model, names.index("coast_pixels"), image)
        np.testing.assert_allclose(file.read(), expected, atol=2e-6)
        assert file.crs.to_epsg() == 32633
    # Squares of 20 x 20 are resized to the 16 x 16 that the network knows.
    from train.data.transforms import evaluation_transforms

    _, resize, _ = evaluation_transforms(model.image_size)
    features = features_of(folder / "town_roofs.geojson")
    assert len(features) == 2 * 3
    square = resize(np.ascontiguousarray(image[15:35, 25:45]))[None]
    [scores] = model.probabilities(square)[names.index("roofs")]
    [about] = [
        f["properties"]
        for f in features
        if (f["properties"]["row"], f["properties"]["column"]) == (1, 2)
    ]
    assert about["class"] == model.tasks[names.index("roofs")].classes[scores.argmax()]
    assert about["probability"] == pytest.approx(scores.max(), abs=1e-4)

"""Scenes of random pixels, and a network that sees every pixel by itself.

What such a network says of a whole scene is known at every pixel, however it is cut into tiles.
"""

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import rasterio
from rasterio.transform import from_origin

from tools.predict.scenes import SceneOptions, finish_scene, predict_scene
from tools.predict.share import Share

UTM = "EPSG:32633"
# Ten metres a pixel, somewhere in Austria.
TRANSFORM = from_origin(500_000, 5_300_000, 10, 10)
CLASSES = ("water", "Wald & Wiese", "töwn")


@dataclass
class Task:
    kind: str
    name: str
    classes: tuple[str, ...]
    label_space: str | None = None


class PerPixel:
    """Stands in for a TrainedModel: a convolution of 1x1 and softmax; scenes by their mean.

    It keeps what it was asked, as the sums of the pictures.
    """

    def __init__(self, *kinds: str, batch: int = 4, made: dict[str, Any] | None = None) -> None:
        self.batch, self.image_size = batch, 16
        tasks = {
            "segmentation": Task("segmentation", "cover", CLASSES),
            "scene": Task("scene", "kind", ("dark", "bright")),
        }
        self.tasks = [tasks[kind] for kind in kinds or ("segmentation",)]
        image = {"format": "png", "quality": None, "size": 16}
        manifest = SimpleNamespace(
            image=image | {"height": [16, 16], "width": [16, 16]}, source={"options": made or {}}
        )
        self.inputs = (SimpleNamespace(name="own", manifest=manifest),)
        self.blueprint = SimpleNamespace(sets=self.inputs)
        self.weights = np.random.default_rng(5).normal(0, 3, (3, 3))
        self.asked: list[np.ndarray] = []

    def probabilities(self, images: np.ndarray) -> list[np.ndarray]:
        assert images.dtype == np.uint8 and images.flags.c_contiguous
        self.asked.append(images)
        return [
            self.pixels(images) if task.kind == "segmentation" else self.scenes(images)
            for task in self.tasks
        ]

    def pixels(self, images: np.ndarray) -> np.ndarray:
        """(n, H, W, 3) -> (n, K, H, W)."""
        scores = np.exp((images / 255 - 0.5) @ self.weights)
        shares = (scores / scores.sum(-1, keepdims=True)).astype(np.float32)
        found: np.ndarray = np.moveaxis(shares, -1, 1)
        return found

    def scenes(self, images: np.ndarray) -> np.ndarray:
        """(n, S, S, 3) -> (n, 2)."""
        bright = images.mean((1, 2, 3)) / 255
        found: np.ndarray = np.stack([1 - bright, bright], 1).astype(np.float32)
        return found


def per_pixel(*kinds: str, batch: int = 4, made: dict[str, Any] | None = None) -> Any:
    """Return one, for what asks for a TrainedModel."""
    return PerPixel(*kinds, batch=batch, made=made)


def random_pixels(width: int, height: int, bands: int = 3, most: int = 255) -> np.ndarray:
    """(bands, height, width), smooth in part, so that classes have areas."""
    rng = np.random.default_rng(width * 1000 + height)
    coarse = rng.integers(1, most, (bands, height // 8 + 1, width // 8 + 1))
    fine = coarse.repeat(8, 1).repeat(8, 2)[:, :height, :width]
    return np.where(rng.random((height, width)) < 0.1, fine // 2, fine)


def write_scene(path: Path, pixels: np.ndarray, **profile: Any) -> Path:
    """Write (bands, height, width) as a GeoTIFF."""
    usual = {"driver": "GTiff", "crs": UTM, "transform": TRANSFORM}
    bands, height, width = pixels.shape
    sizes = {"count": bands, "height": height, "width": width, "dtype": pixels.dtype.name}
    with rasterio.open(path, "w", **{**usual, **sizes, **profile}) as file:
        file.write(pixels)
    return path


def predict(
    scene: Path, model: Any, to: Path, options: SceneOptions, sizes: int = 1
) -> dict[str, Path]:
    """Predict a scene with so many shares, one after the other; return its files by name."""
    to.mkdir(parents=True, exist_ok=True)
    advanced: list[int] = []
    for rank in range(sizes):
        share = Share(rank, sizes)
        predict_scene(model, scene, scene.name, to, options, share, advanced.append)
    with rasterio.open(scene) as file:
        assert sum(advanced) == file.width * file.height
    names = finish_scene(model, scene, scene.name, to, options)
    assert sorted(names) == sorted(path.name for path in to.iterdir())
    return {name: to / name for name in names}

"""The generated data sets, and drawing their pictures into files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from tools.demo_data import coast, farmland, urban
from tools.demo_data.canvas import Canvas

_JPEG_QUALITY = 92


@dataclass(frozen=True)
class Scenes:
    """One generated data set.

    Attributes:
        size: Height and width of its pictures in pixels.
        classes: Class names, and what draws each class on an empty canvas.
    """

    size: int
    classes: Mapping[str, Callable[[Canvas], None]]


SETS = {
    "demo_farmland": Scenes(64, farmland.SCENES),
    "demo_urban": Scenes(96, urban.SCENES),
    "demo_coast": Scenes(80, coast.SCENES),
}


@dataclass(frozen=True)
class Job:
    """Pictures ``start`` .. ``stop - 1`` of one class, to be drawn into ``folder``."""

    folder: str
    data_set: str
    class_name: str
    start: int
    stop: int
    seed: int


def draw(job: Job) -> int:
    """Draws a job's pictures; returns how many.

    A picture depends on the seed, its class and its number alone.
    """
    scenes = SETS[job.data_set]
    # Text as numbers, so that a new class or data set leaves the others' pictures as they are.
    origin = list(f"{job.data_set}/{job.class_name}".encode())
    for number in range(job.start, job.stop):
        canvas = Canvas(np.random.default_rng([job.seed, number, *origin]), scenes.size)
        scenes.classes[job.class_name](canvas)
        picture = Image.fromarray(canvas.finish())
        picture.save(Path(job.folder, f"{number:03d}.jpg"), quality=_JPEG_QUALITY, subsampling=0)
    return job.stop - job.start

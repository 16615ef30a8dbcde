"""The generated data sets, and their pictures, drawn into files."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from tools.common import console
from tools.common.parallel import ordered_map
from tools.demo_data import coast, farmland, urban
from tools.demo_data.canvas import Canvas

_JPEG_QUALITY = 92
_PICTURES_PER_JOB = 20
# Time of change of every picture: the first second of 2026.
_TIME = 1_767_225_600 * 10**9


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


def draw_all(images: Path, per_class: int, seed: int, workers: int) -> None:
    """Draw the pictures of all data sets as ``images/<data set>/<class>/<number>.jpg``."""
    jobs = []
    for name, scenes in SETS.items():
        for class_name in scenes.classes:
            folder = images / name / class_name
            folder.mkdir(parents=True)
            for start in range(0, per_class, _PICTURES_PER_JOB):
                stop = min(per_class, start + _PICTURES_PER_JOB)
                jobs.append(Job(str(folder), name, class_name, start, stop, seed))
    with console.progress("drawing", sum(job.stop - job.start for job in jobs)) as advance:
        for count in ordered_map(draw, jobs, min(workers, len(jobs))):
            advance(count)
    for picture in images.rglob("*.*"):
        # The table of the records holds it, and the same arguments give the same bytes.
        os.utime(picture, ns=(_TIME, _TIME))


def draw(job: Job) -> int:
    """Draw a job's pictures; return how many.

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

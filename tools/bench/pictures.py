"""Pictures and data sets that the measurements of loading and evaluation are made with.

The pictures are noise of all scales, as strong at each as in photographs, so that JPEG makes files
of a usual size of them. They show nothing.
"""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from tools.bench.group import ROOT, WorkerFailed

_QUALITY = 90


def prepare_sets(folder: Path, classes: Sequence[int], per_class: int, size: int) -> dict[str, str]:
    """Draw and prepare data sets: a half for training, and a quarter each val and test.

    Returns:
        Their folders by name, ``set0``, ``set1``, ...: ``folder/records/NAME``, made of the JPEG
        files ``folder/pictures/NAME/class_K/N.jpg``.
    """
    prepared = {}
    for number, count in enumerate(classes):
        name = f"set{number}"
        pictures, records = folder / "pictures" / name, folder / "records" / name
        rng = np.random.default_rng([count, size])
        for label in range(count):
            place = pictures / f"class_{label:02d}"
            place.mkdir(parents=True)
            for picture in range(per_class):
                _draw(rng, size).save(place / f"{picture}.jpg", quality=_QUALITY)
        # Noise may look like noise to the search for duplicates.
        options = ["--ratios", "0.5,0.25,0.25", "--duplicates", "allow", "--workers", "1"]
        run_tool("prepare", str(pictures), "--out", str(records), *options)
        prepared[name] = str(records)
    return prepared


def run_tool(*words: str) -> None:
    """Run ``python -m tools`` in a process of its own.

    MindSpore changes the environment of a process that loads it, and peers would inherit that.

    Raises:
        WorkerFailed: It fails.
    """
    command = [sys.executable, "-m", "tools", *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise WorkerFailed(f"tools {words[0]}: {done.stderr.strip()}")


def _draw(rng: np.random.Generator, size: int) -> Image.Image:
    """Return a picture of ``size`` x ``size`` pixels."""
    pixels = np.full((size, size, 3), 128.0)
    side = 2
    while side <= size:
        coarse = rng.normal(0, 64 / side**0.4, (side, side, 3)).astype(np.float32)
        for channel in range(3):
            image = Image.fromarray(coarse[..., channel])
            pixels[..., channel] += image.resize((size, size), Image.Resampling.BILINEAR)
        side *= 2
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))

"""Pictures and data sets that the measurements of loading and evaluation are made with.

The pictures are noise of all scales, as strong at each as in photographs, so that JPEG makes files
of a usual size of them. They show nothing.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from tools.bench.group import ROOT, WorkerFailed

_QUALITY = 90


def draw(rng: np.random.Generator, size: int) -> Image.Image:
    """A picture of ``size`` x ``size`` pixels."""
    pixels = np.full((size, size, 3), 128.0)
    side = 2
    while side <= size:
        coarse = rng.normal(0, 64 / side**0.4, (side, side, 3))
        pixels += _enlarged(coarse, size)
        side *= 2
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def write_folder(folder: Path, classes: int, per_class: int, size: int) -> None:
    """JPEG files ``folder/class_K/N.jpg``."""
    rng = np.random.default_rng([classes, size])
    for label in range(classes):
        place = folder / f"class_{label:02d}"
        place.mkdir(parents=True)
        for number in range(per_class):
            draw(rng, size).save(place / f"{number}.jpg", quality=_QUALITY)


def prepare_sets(
    folder: Path, classes: Sequence[int], per_class: int, size: int
) -> dict[str, Path]:
    """Prepared data sets, of which a half is for training, and a quarter each val and test."""
    prepared = {}
    for number, count in enumerate(classes):
        name = f"set{number}"
        pictures, prepared[name] = folder / "pictures" / name, folder / "records" / name
        write_folder(pictures, count, per_class, size)
        # Noise may look like noise to the search for duplicates.
        options = ["--ratios", "0.5,0.25,0.25", "--duplicates", "allow", "--workers", "1"]
        run_tool("prepare", str(pictures), "--out", str(prepared[name]), *options)
    return prepared


def run_tool(*words: str) -> None:
    """Runs ``python -m tools`` in a process of its own.

    MindSpore changes the environment of a process that loads it, and peers would inherit that.

    Raises:
        WorkerFailed: It fails.
    """
    command = [sys.executable, "-m", "tools", *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise WorkerFailed(f"tools {words[0]}: {done.stderr.strip()}")


def _enlarged(coarse: npt.NDArray[np.float64], size: int) -> npt.NDArray[np.float64]:
    """Bilinear, (n, n, 3) -> (size, size, 3)."""
    channels = [
        Image.fromarray(coarse[..., i].astype(np.float32)).resize(
            (size, size), Image.Resampling.BILINEAR
        )
        for i in range(3)
    ]
    return np.stack([np.asarray(channel, np.float64) for channel in channels], -1)

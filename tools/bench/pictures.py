"""Pictures and data sets that the measurements of loading and evaluation are made with.

The pictures are noise of all scales, as strong at each as in photographs, so that JPEG makes files
of a usual size of them. They show nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

_QUALITY = 90


def draw(rng: np.random.Generator, size: int) -> Image.Image:
    """A picture of ``size`` x ``size`` pixels."""
    pixels = np.full((size, size, 3), 128.0)
    side = 2
    while side <= size:
        coarse = rng.normal(0, 64 / side**0.75, (side, side, 3))
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
    from tools.prepare.make import prepare
    from tools.prepare.options import Options

    prepared = {}
    for number, count in enumerate(classes):
        name = f"set{number}"
        pictures = folder / "pictures" / name
        write_folder(pictures, count, per_class, size)
        prepared[name] = folder / "records" / name
        # Noise looks like noise to the search for duplicates.
        options = Options(
            pictures, prepared[name], ratios=(0.5, 0.25, 0.25), duplicates="allow", quality=_QUALITY
        )
        prepare(options)
    return prepared


def _enlarged(coarse: npt.NDArray[np.float64], size: int) -> npt.NDArray[np.float64]:
    """Bilinear, (n, n, 3) -> (size, size, 3)."""
    channels = [
        Image.fromarray(coarse[..., i].astype(np.float32)).resize(
            (size, size), Image.Resampling.BILINEAR
        )
        for i in range(3)
    ]
    return np.stack([np.asarray(channel, np.float64) for channel in channels], -1)

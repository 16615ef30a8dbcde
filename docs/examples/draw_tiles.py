"""Draws tiles of an invented landscape and their masks in colours: python draw_tiles.py FOLDER [N].

Stand-ins for labelled tiles of your own, so that the pages of the documentation can be followed
without any data. FOLDER gets images/, masks/ and colours.json, which says what the colours mean.
A strip at the top of some masks is black: not labelled.
"""

import json
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIZE = 96
# Cover: colour in the mask, mean colour in the image, roughness of the image.
COVERS = {
    "water": ("#0000ff", (38, 66, 92), 4),
    "meadow": ("#00c800", (128, 158, 84), 10),
    "forest": ("#006400", (44, 82, 46), 16),
    "built-up": ("#ff0000", (168, 158, 150), 34),
}


def terrain(rng: np.random.Generator, coarse: int) -> NDArray[np.float64]:
    """Return a smooth random map of the size of a tile, with `coarse` bumps along each side."""
    noise = rng.normal(0, 1, (coarse, coarse)).astype(np.float32)
    smooth = Image.fromarray(noise).resize((SIZE, SIZE), Image.Resampling.BICUBIC)
    return np.asarray(smooth, dtype=np.float64)


def draw(rng: np.random.Generator) -> tuple[Image.Image, Image.Image]:
    """Return a tile and its mask."""
    height = terrain(rng, 5) + 0.3 * terrain(rng, 12)
    # Every tile has its own water level and tree line, so shares of the covers vary.
    limits = np.sort(rng.uniform(-1.2, 1.2, len(COVERS) - 1))
    cover = np.digitize(height, limits)
    image = np.zeros((SIZE, SIZE, 3))
    mask = np.zeros((SIZE, SIZE, 3), np.uint8)
    for index, (colour, mean, roughness) in enumerate(COVERS.values()):
        here = cover == index
        # Houses are blocks, everything else is fine-grained.
        grain = 4 if index == len(COVERS) - 1 else 1
        texture = np.kron(rng.normal(0, roughness, (SIZE // grain,) * 2), np.ones((grain, grain)))
        image[here] = (np.array(mean) + texture[..., None])[here]
        mask[here] = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    mask[: rng.integers(0, 8)] = 0
    light = rng.uniform(0.85, 1.15)
    return Image.fromarray((image * light).clip(0, 255).astype(np.uint8)), Image.fromarray(mask)


def main(folder: Path, count: int) -> None:
    """Draw `count` tiles into a folder."""
    rng = np.random.default_rng(0)
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    for number in range(count):
        image, mask = draw(rng)
        image.save(folder / "images" / f"tile_{number:03d}.png")
        mask.save(folder / "masks" / f"tile_{number:03d}.png")
    colours = {name: colour for name, (colour, _, _) in COVERS.items()}
    (folder / "colours.json").write_text(json.dumps(colours, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 100)

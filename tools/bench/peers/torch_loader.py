"""PyTorch's DataLoader over JPEG files, decoded and augmented with Pillow.

The calls are those that torchvision's transforms of Pillow images make, without torchvision.
``num_workers=0``: on a single core, worker processes would only add copies between processes.
"""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import torch
from PIL import Image, ImageEnhance
from torch.utils.data import DataLoader, Dataset

from tools.bench.peers.loaders import BATCH, CROP_AREA, CROP_ASPECT, SHAKE, Loading

_FLIPS = (Image.Transpose.FLIP_LEFT_RIGHT, Image.Transpose.FLIP_TOP_BOTTOM)
_TURNS = (*_FLIPS, Image.Transpose.ROTATE_90)


class Folder(Dataset[tuple[torch.Tensor, int]]):
    """A folder of JPEG files, a sub-folder per class, with random augmentation.

    Args:
        root: The folder.
        size: Height and width of what comes out, in pixels.
    """

    def __init__(self, root: Path, size: int) -> None:
        classes = sorted(root.iterdir())
        self.files = [(file, k) for k, folder in enumerate(classes) for file in folder.iterdir()]
        self.size = size

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, position: int) -> tuple[torch.Tensor, int]:
        file, label = self.files[position]
        with Image.open(file) as opened:
            image = opened.convert("RGB")
        image = self._crop(image)
        for turn in _TURNS:
            if random.random() < 0.5:
                image = image.transpose(turn)
        for enhance in (ImageEnhance.Brightness, ImageEnhance.Contrast):
            image = enhance(image).enhance(random.uniform(1 - SHAKE, 1 + SHAKE))
        return torch.from_numpy(np.array(image)), label

    def _crop(self, image: Image.Image) -> Image.Image:
        area = image.width * image.height * random.uniform(*CROP_AREA)
        aspect = random.uniform(*CROP_ASPECT)
        width = min(image.width, round((area * aspect) ** 0.5))
        height = min(image.height, round((area / aspect) ** 0.5))
        left, top = random.randint(0, image.width - width), random.randint(0, image.height - height)
        box = (left, top, left + width, top + height)
        return image.resize((self.size, self.size), Image.Resampling.BILINEAR, box)


class Loader(Loading):
    """Reads a folder of JPEG files."""

    def batches(self, spec: dict[str, Any]) -> Iterator[int]:
        """See the base class."""
        torch.set_num_threads(1)
        random.seed(0)
        self.versions |= {"torch": torch.__version__, "pillow": PIL.__version__}
        dataset = Folder(Path(spec["pictures"]), spec["size"])
        loader = DataLoader(dataset, BATCH, shuffle=True, drop_last=True)
        while True:
            for images, _ in loader:
                yield len(images)

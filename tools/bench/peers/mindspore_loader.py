"""MindSpore's ImageFolderDataset with its own operators, one worker, as its documentation shows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tools.bench.peers.loading import BATCH, CROP_AREA, CROP_ASPECT, SHAKE, Loading


class Peer(Loading):
    """Reads a folder of JPEG files.

    Args:
        spec: ``pictures``: the folder; ``size``: pixels to come out.
        rank: Not looked at.
    """

    def __init__(self, spec: dict[str, Any], rank: int) -> None:
        import mindspore as ms
        from mindspore.dataset import ImageFolderDataset, transforms, vision

        around_one = (1 - SHAKE, 1 + SHAKE)
        operators = [
            vision.RandomCropDecodeResize(spec["size"], CROP_AREA, CROP_ASPECT),
            vision.RandomHorizontalFlip(),
            vision.RandomVerticalFlip(),
            transforms.RandomApply([vision.Rotate(90)], 0.5),
            vision.RandomColorAdjust(around_one, around_one),
        ]
        pictures = ImageFolderDataset(spec["pictures"], shuffle=True, num_parallel_workers=1)
        pictures = pictures.map(operators, "image", num_parallel_workers=1)
        self.pictures = pictures.batch(BATCH, drop_remainder=True)
        super().__init__({"mindspore": ms.__version__})

    def batches(self) -> Iterator[int]:
        """See the base class."""
        while True:
            for images, _ in self.pictures.create_tuple_iterator(num_epochs=1, output_numpy=True):
                yield len(images)

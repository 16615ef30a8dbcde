"""Input pipelines on one core: what all have in common, ours, and MindSpore's ImageFolderDataset.

PyTorch's (``torch_loader``) runs where neither MindSpore nor this project's requirements are, so
these are imported where they are used.
"""

import time
from collections.abc import Iterator
from typing import Any

from tools.bench.peers import Peer

BATCH = 32

# Random-resized crop, flips and quarter turns of every second picture, brightness and contrast.
CROP_AREA, CROP_ASPECT, SHAKE = (0.4, 1.0), (0.8, 1.25), 0.2

# Read before the clock starts: more than any pipeline has made in advance while it was idle.
_AHEAD = 64 * BATCH


class Loading(Peer):
    """A peer that loads images, and does nothing else.

    Args:
        spec: ``records``: a prepared data set; ``pictures``: the same as a folder of JPEG files;
            ``size``: pixels to come out; ``cache``: as in a configuration.
        rank: Not looked at.
    """

    def __init__(self, spec: dict[str, Any], rank: int) -> None:
        self.versions: dict[str, str] = {}
        self.made = self.batches(spec)
        self._read(BATCH)
        self.info = {"versions": self.versions}

    def batches(self, spec: dict[str, Any]) -> Iterator[int]:
        """Load endlessly; yield the images of a batch, uint8 (n, H, W, 3), that is there now."""
        raise NotImplementedError

    def run(self, seconds: float, most_ahead: int) -> dict[str, float]:
        """Measure the images per second, over ``seconds`` seconds."""
        self._read(min(_AHEAD, most_ahead))
        begin, images, passed = time.perf_counter(), 0, 0.0
        while passed < seconds:
            images += self._read(BATCH)
            passed = time.perf_counter() - begin
        return {"rate": images / passed}

    def _read(self, images: int) -> int:
        """Read at least ``images`` images; return how many they were."""
        read = 0
        while read < images:
            read += next(self.made)
        return read


class Ours(Loading):
    """Our input pipeline, as the trainer uses it: reads records."""

    def batches(self, spec: dict[str, Any]) -> Iterator[int]:
        """See the base class."""
        import mindspore as ms

        from train.config.schedule import Schedule
        from train.config.schema import Config
        from train.data.damage import DamageWatch
        from train.data.loader import TrainLoader
        from train.data.manifest import open_record_sets

        self.versions["mindspore"] = ms.__version__
        augment = {"flips": True, "quarter_turns": True, "brightness": SHAKE, "contrast": SHAKE}
        tree = {
            "run_dir": "none",
            "datasets": {"pictures": {"records": spec["records"]}},
            "tasks": {"pictures": {}},
            "batch": {"images_per_task": BATCH},
            "image": {"size": spec["size"]},
            "cache": spec["cache"],
            "augment": {**augment, "crop_area": CROP_AREA, "crop_aspect": CROP_ASPECT},
            "schedule": {"steps": 10**7, "consolidate_every": 50},
        }
        config = Config.model_validate(tree)
        sets = open_record_sets(config)
        watch = DamageWatch(sets)
        loader = TrainLoader(config, sets, {"pictures": BATCH}, watch, 0, 1)
        for _, batches in loader.batches(Schedule(config).intervals(0)):
            for images, _ in batches:
                yield len(images)


class Folder(Loading):
    """ImageFolderDataset with MindSpore's own operators, one worker, as its documentation shows."""

    def batches(self, spec: dict[str, Any]) -> Iterator[int]:
        """See the base class."""
        import mindspore as ms
        from mindspore.dataset import ImageFolderDataset, transforms, vision

        self.versions["mindspore"] = ms.__version__
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
        pictures = pictures.batch(BATCH, drop_remainder=True)
        while True:
            for images, _ in pictures.create_tuple_iterator(num_epochs=1, output_numpy=True):
                yield len(images)

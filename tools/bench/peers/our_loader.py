"""Our input pipeline, as the trainer uses it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tools.bench.peers.loading import BATCH, CROP_AREA, CROP_ASPECT, SHAKE, Loading
from train.config.schema import Config

# Steps between two consolidation points: a usual number.
_INTERVAL = 50


class Peer(Loading):
    """Reads records.

    Args:
        spec: ``records``: a prepared data set; ``size``: pixels to come out; ``cache``: what of it
            is kept in memory, as in a configuration.
        rank: Not looked at.
    """

    def __init__(self, spec: dict[str, Any], rank: int) -> None:
        import mindspore as ms

        from train.config.schedule import intervals
        from train.data.damage import DamageWatch
        from train.data.loader import TrainLoader
        from train.data.manifest import open_record_sets

        config = _configuration(Path(spec["records"]), spec["size"], spec["cache"])
        sets = open_record_sets(config)
        watch = DamageWatch(sets)
        self.loader = TrainLoader(config, sets, {"pictures": BATCH}, watch, 0, 1)
        self.intervals = intervals(0, 10**7, _INTERVAL, spec["size"], [])
        super().__init__({"mindspore": ms.__version__})

    def batches(self) -> Iterator[int]:
        """See the base class."""
        for _, batches in self.loader.batches(self.intervals):
            for images, _ in batches:
                yield len(images)


def _configuration(records: Path, size: int, cache: str) -> Config:
    augment = {
        "crop_area": CROP_AREA,
        "crop_aspect": CROP_ASPECT,
        "flips": True,
        "quarter_turns": True,
        "brightness": SHAKE,
        "contrast": SHAKE,
    }
    tree = {
        "run_dir": "none",
        "datasets": {"pictures": {"records": str(records)}},
        "tasks": {"pictures": {}},
        "batch": {"images_per_task": BATCH},
        "image": {"size": size},
        "cache": cache,
        "augment": augment,
        "schedule": {"steps": 10**7, "consolidate_every": _INTERVAL},
    }
    return Config.model_validate(tree)

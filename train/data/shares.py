"""How many images of every data set are in the mixed batch of a run."""

from collections.abc import Sequence

from train.config.schema import Config
from train.data.manifest import RecordSet
from train.data.sampler import split_shares


def batch_shares(config: Config, sets: Sequence[RecordSet]) -> dict[str, int]:
    """Return the images of every data set in the mixed batch, over all ranks."""
    records = {s.name: s.num_records("train") for s in sets}
    images = config.batch.images_per_task * len(sets)
    return split_shares(config.batch.shares, records, images)

import dataclasses
from pathlib import Path

import numpy as np

from train.data.manifest import RecordSet
from train.data.pipeline import needed_shards


def test_only_the_shards_that_hold_the_records_are_opened(sets: list[RecordSet]) -> None:
    manifest = sets[0].manifest
    [shard, _] = manifest.splits["train"].shards
    shards = tuple(
        dataclasses.replace(shard, file=f"shard{i}", records=n) for i, n in enumerate((3, 5, 4))
    )
    split = dataclasses.replace(manifest.splits["train"], records=12, shards=shards)
    manifest = dataclasses.replace(manifest, splits={"train": split})
    record_set = RecordSet("uneven", Path("records"), manifest)
    for records, used, positions, total in (
        ([9, 3, 8, 11, 7], [1, 2], [6, 0, 5, 8, 4], 9),
        ([10, 1, 2], [0, 2], [5, 1, 2], 7),
        ([0, 3, 8], [0, 1, 2], [0, 3, 8], 12),
    ):
        found = needed_shards(record_set, "train", np.array(records))
        assert found[0] == [f"records/shard{i}" for i in used]
        assert found[1].tolist() == positions and found[2] == total

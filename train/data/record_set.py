"""A prepared data set as training sees it: where it is, and what its manifest says."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from train.config.schema import Config
from train.data.records import Manifest, Shard


@dataclass(frozen=True)
class RecordSet:
    """One prepared data set."""

    name: str
    folder: Path
    manifest: Manifest

    def num_records(self, split: str) -> int:
        """Records of a split; 0 if there is no such split."""
        return self.manifest.splits[split].records if split in self.manifest.splits else 0

    def shards(self, split: str) -> Iterator[tuple[Shard, range]]:
        """The shards of a split with the numbers of their records."""
        first = 0
        for shard in self.manifest.splits[split].shards if split in self.manifest.splits else ():
            yield shard, range(first, first + shard.records)
            first += shard.records


def open_record_sets(config: Config) -> list[RecordSet]:
    """Reads the manifests of all data sets.

    Raises:
        UserError: A folder or shard is missing or damaged.
    """
    folders = {name: config.records_of(name) for name in config.datasets}
    return [RecordSet(name, folder, Manifest.read(folder)) for name, folder in folders.items()]

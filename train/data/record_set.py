"""A prepared data set as training sees it: where it is, and what its manifest says."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from train.config import Config
from train.data.records import Manifest, Shard
from train.errors import UserError


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
    """Reads the manifests of all data sets and compares them with what the tasks expect.

    Raises:
        UserError: A folder or shard is missing or damaged, or a class count disagrees.
    """
    sets = {
        name: RecordSet(name, config.records_of(name), Manifest.read(config.records_of(name)))
        for name in config.datasets
    }
    for name, task in config.tasks.items():
        where = config.records_of(config.dataset_of(name))
        found = len(sets[config.dataset_of(name)].manifest.classes)
        if not found:
            raise UserError(f"tasks.{name}: {where} has masks only, no scene classes")
        expected = task.classes or found
        if expected != found:
            raise UserError(
                f"tasks.{name}.classes: {expected} classes are expected, but {where} has {found}"
            )
    return list(sets.values())

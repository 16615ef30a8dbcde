"""Damages records of a prepared data set."""

import json
from typing import Any

import mindspore.dataset as ds

from train.data.manifest import MANIFEST, RecordSet, digest_of
from train.files import sha256_file


def contents(record_set: RecordSet, split: str, column: str) -> list[Any]:
    """A column of all records of a split, in order."""
    paths = record_set.manifest.shard_paths(record_set.folder, split)
    rows = ds.MindDataset(paths, columns_list=[column], shuffle=False)
    return [row[0] for row in rows.create_tuple_iterator(num_epochs=1, output_numpy=True)]


def spoil_record(
    record_set: RecordSet, split: str, number: int, column: str = "image"
) -> tuple[str, str]:
    """Overwrites the image of a record in its shard with zeros: (key, shard)."""
    image = contents(record_set, split, column)[number].tobytes()
    key = str(contents(record_set, split, "key")[number])
    for shard, _ in record_set.shards(split):
        path = record_set.folder / shard.file
        stored = path.read_bytes()
        if (place := stored.find(image)) >= 0:
            path.write_bytes(stored.replace(image, bytes(len(image))))
            assert stored.find(image, place + 1) < 0
            return key, shard.file
    raise AssertionError("not found")


def declare_whole(record_set: RecordSet) -> RecordSet:
    """Writes the digests that the files have now into the manifest."""
    path = record_set.folder / MANIFEST
    manifest = json.loads(path.read_text())
    for split in manifest["splits"].values():
        for shard in split["shards"]:
            shard["sha256"] = sha256_file(record_set.folder / shard["file"])
            shard["index_sha256"] = sha256_file(record_set.folder / f"{shard['file']}.db")
    path.write_text(json.dumps({**manifest, "digest": digest_of(manifest)}))
    return RecordSet(record_set.name, record_set.folder, record_set.manifest.read(path.parent))


def vanish(record_set: RecordSet, split: str) -> None:
    """Removes all shards of a split."""
    for shard, _ in record_set.shards(split):
        (record_set.folder / shard.file).unlink()

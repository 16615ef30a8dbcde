"""Finds out which records of a prepared data set are damaged.

A shard whose digests are those of the manifest is whole. Of another one every record is read and
compared with its own checksum, so that it is known which can still be used. On some damaged files
MindSpore ends or blocks the process that reads them, and on others it prints pages: so they are
read in a separate process, with its output discarded.
"""

from __future__ import annotations

import multiprocessing
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection
from pathlib import Path

from train.data.manifest import RecordSet, Shard
from train.data.records import checksum, mask_column
from train.files import sha256_file

# Without news for so long, the reader is taken to hang. It takes some seconds to start.
_PATIENCE_SECONDS = 60.0
# Largest number of reads to isolate what cannot be read.
_MOST_TRIES = 200

# Numbers of damaged records, each with a line that names the record and says what is wrong.
Damages = Iterator[tuple[int, str]]


def damaged_records(record_set: RecordSet, split: str) -> Damages:
    """Yield the records of a split that are not what they were when they were prepared."""
    for shard, numbers in record_set.shards(split):
        if (problem := shard_problem(record_set.folder, shard)) is None:
            continue
        found = salvage(record_set.folder, shard, list(record_set.manifest.masks))
        # If all checksums are right, what has changed is something between the records, or whoever
        # changed them knew of checksums: nobody knows which records can be trusted.
        unknown = len(found) == len(numbers) and all(whole for _, whole in found.values())
        for position, number in enumerate(numbers):
            key, whole = found.get(position, ("", None))
            record = f"{number} of {split} ({key})" if key else f"{number} of {split}"
            reason = problem if whole is None else "its checksum differs"
            if unknown:
                reason = f"{problem}, although the checksums of all its records are right"
            if unknown or not whole:
                yield number, f"{record_set.name}: record {record} in {shard.file}: {reason}"


def undecodable_records(record_set: RecordSet, split: str, numbers: Sequence[int]) -> Damages:
    """Yield those of ``numbers`` that cannot be decoded, although their shards are whole."""
    from train.data.pipeline import decoded_records

    def decode(part: Sequence[int]) -> None:
        deque(decoded_records(record_set, split, part, list(record_set.manifest.masks)), maxlen=0)

    failed = set(numbers) - set(read_around(numbers, decode))
    for shard, in_shard in record_set.shards(split):
        for number in sorted(failed.intersection(in_shard)):
            record = f"{record_set.name}: record {number} of {split} in {shard.file}"
            yield number, f"{record}: its image cannot be decoded"


def shard_problem(folder: Path, shard: Shard) -> str | None:
    """Return why a shard is not the one that was written, or None if it is."""
    for name, size, digest in shard.files():
        try:
            actual = (folder / name).stat().st_size
            if actual != size:
                return f"{name} has {actual} bytes instead of {size}"
            if sha256_file(folder / name) != digest:
                return f"{name} has another sha256"
        except OSError as error:
            return f"{name}: {error.strerror or error}"
    return None


def salvage(folder: Path, shard: Shard, masks: Sequence[str]) -> dict[int, tuple[str, bool]]:
    """Read what can be read of a damaged shard of a data set with these label spaces of masks.

    Returns:
        Number in the shard -> (key, whether the checksum is right), without what cannot be read;
        nothing if its reader crashed or hung, as the next one would.
    """
    path = folder / shard.file
    try:
        sizes = [file.stat().st_size for file in (path, path.with_name(f"{path.name}.db"))]
    except OSError:
        return {}
    if sizes != [shard.bytes, shard.index_bytes]:
        return {}  # nothing is where the index says
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    arguments = str(path), shard.records, masks, theirs
    process = context.Process(target=_send, args=arguments, daemon=True)
    process.start()
    theirs.close()
    found: dict[int, tuple[str, bool]] = {}
    try:
        while ours.poll(_PATIENCE_SECONDS):
            number, key, whole = ours.recv()
            found[number] = key, whole
    except (EOFError, OSError):  # the reader has ended, in whatever way
        process.join(_PATIENCE_SECONDS)
    finally:
        process.kill()
        process.join()
        ours.close()
    return found if process.exitcode == 0 else {}


def _send(path: str, records: int, masks: Sequence[str], connection: Connection) -> None:
    """Send number, key and state of every record of a shard that can be read."""
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    import mindspore.dataset as ds

    def read(numbers: Sequence[int]) -> None:
        rows = ds.MindDataset(
            [path],
            columns_list=["label", "key", "crc", "image", *map(mask_column, masks)],
            sampler=ds.SubsetSampler(list(numbers)),
            num_parallel_workers=1,
        )
        iterator = rows.create_tuple_iterator(num_epochs=1, output_numpy=True)
        for number, (label, key, crc, *parts) in zip(numbers, iterator, strict=True):
            whole = checksum(int(label), str(key), parts[0], parts[1:]) == int(crc)
            connection.send((number, str(key), whole))

    read_around(range(records), read)


def read_around(numbers: Sequence[int], read: Callable[[Sequence[int]], None]) -> list[int]:
    """Read what can be read, by halving whatever cannot be read at once; return its numbers."""
    waiting, done = [numbers], list[int]()
    for _ in range(_MOST_TRIES):
        if not waiting:
            break
        part = waiting.pop()
        try:
            read(part)
            done += part
        except Exception:  # anything may come out of a damaged file
            if len(part) > 1:
                half = len(part) // 2
                waiting += [part[half:], part[:half]]
    return done

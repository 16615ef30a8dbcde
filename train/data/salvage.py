"""Reads what can still be read of a damaged shard, in a process that may crash or hang.

On some damaged files MindSpore ends or blocks the process that reads them, and on others it prints
pages: so that gets a process of its own, without a voice.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Sequence
from functools import lru_cache
from multiprocessing.connection import Connection
from pathlib import Path

from train.data.records import Shard, checksum, mask_column

# Without news for so long, the reader is taken to hang. It takes some seconds to start.
_PATIENCE_SECONDS = 60.0
# Reading is tried so often to get around what cannot be read.
_MOST_TRIES = 200

Contents = dict[int, tuple[str, bool]]


def salvage(folder: Path, shard: Shard, masks: Sequence[str]) -> Contents:
    """What can be read of a shard.

    Args:
        folder: The data set.
        shard: One of its shards.
        masks: Its label spaces of masks.

    Returns:
        Number in the shard -> (key, whether the checksum is right), without what cannot be read;
        nothing if its reader came to harm, as whoever reads it next would.
    """
    path = folder / shard.file
    try:
        states = [file.stat() for file in (path, path.with_name(f"{path.name}.db"))]
    except OSError:
        return {}
    if [state.st_size for state in states] != [shard.bytes, shard.index_bytes]:
        return {}  # nothing is where the index says
    changed = tuple(state.st_mtime_ns for state in states)
    return _salvage(path, changed, shard.records, tuple(masks))


# As often as the same damage is looked at: a process takes seconds to start.
@lru_cache(maxsize=64)
def _salvage(
    path: Path, changed: tuple[int, ...], records: int, masks: tuple[str, ...]
) -> Contents:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_read, args=(str(path), records, masks, theirs), daemon=True)
    process.start()
    theirs.close()
    found: Contents = {}
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


def read_around(numbers: Sequence[int], read: Callable[[Sequence[int]], None]) -> None:
    """Reads as many as possible of ``numbers``, by halving whatever cannot be read at once."""
    waiting = [numbers]
    for _ in range(_MOST_TRIES):
        if not waiting:
            return
        part = waiting.pop()
        try:
            read(part)
        except Exception:  # anything may come out of a damaged file
            if len(part) > 1:
                half = len(part) // 2
                waiting += [part[half:], part[:half]]


def _read(path: str, records: int, masks: Sequence[str], connection: Connection) -> None:
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    import mindspore.dataset as ds

    def read(numbers: Sequence[int]) -> None:
        rows = ds.MindDataset(
            [path],
            columns_list=["image", "key", "crc", *map(mask_column, masks)],
            sampler=ds.SubsetSampler(list(numbers)),
            num_parallel_workers=1,
        )
        iterator = rows.create_tuple_iterator(num_epochs=1, output_numpy=True)
        for number, (image, key, crc, *others) in zip(numbers, iterator, strict=True):
            connection.send((number, str(key), checksum(image, others) == int(crc)))

    read_around(range(records), read)

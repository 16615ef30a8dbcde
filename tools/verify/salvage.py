"""Reads what can still be read of a damaged shard, in a process that may crash or hang."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path

from tools import reading
from train.data.records import Shard, checksum

# Without news for so long, the reader is taken to hang.
_PATIENCE_S = 30.0


def whole_records(folder: Path, shard: Shard, masks: Sequence[str]) -> bytearray:
    """For every record of a shard, 1 if it can be read and its checksum holds, else 0.

    MindSpore ends or blocks the process on some damaged files, and prints pages on others; so it
    gets a process of its own, without a voice.
    """
    whole = bytearray(shard.records)
    if not all((folder / name).is_file() for name in (shard.file, f"{shard.file}.db")):
        return whole
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    arguments = (str(folder / shard.file), tuple(masks), theirs)
    process = context.Process(target=_read, args=arguments, daemon=True)
    process.start()
    theirs.close()
    try:
        while ours.poll(_PATIENCE_S):
            position = ours.recv()
            if position < shard.records:
                whole[position] = 1
    except (EOFError, OSError):
        # The reader has ended, in whatever way.
        pass
    finally:
        process.kill()
        process.join()
        ours.close()
    return whole


def _read(path: str, masks: Sequence[str], connection: Connection) -> None:
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    try:
        for position, record in enumerate(reading.read([path], masks)):
            if checksum(record.image, record.masks) == record.crc:
                connection.send(position)
    except Exception:
        # Told by what was not sent.
        return

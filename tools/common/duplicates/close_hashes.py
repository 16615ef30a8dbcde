"""Pairs of 64-bit hashes that differ in few bits, among any number of them, in little memory."""

from collections.abc import Iterable, Iterator
from itertools import combinations, islice
from pathlib import Path

import numpy as np
import numpy.typing as npt

ENTRY = np.dtype([("hash", "<u8"), ("id", "<i8")])

_BLOCKS = 8
_CHUNK = 2**17
# Hashes looked at at once; a second of work, a few MB.
_PART = 2**18
# Of very many hashes that agree in two blocks, each is compared with the next ones in order only.
_WINDOW = 400
_ONES = np.array([bin(value).count("1") for value in range(256)], np.uint8)

Entries = npt.NDArray[np.void]


def write(path: Path, hashes: Iterable[tuple[int, int]]) -> None:
    """Write pairs (signed hash, id) to a file for :func:`close_pairs`."""
    rows = iter(hashes)
    with path.open("wb") as file:
        while chunk := list(islice(rows, _CHUNK)):
            entries = np.empty(len(chunk), ENTRY)
            entries["hash"] = np.array([row[0] for row in chunk], np.int64).view(np.uint64)
            entries["id"] = [row[1] for row in chunk]
            file.write(entries.tobytes())


def close_pairs(path: Path, distance: int) -> Iterator[tuple[int, int, int]]:
    """Yield (smaller id, larger id, differing bits) of the pairs up to ``distance``, each once.

    A hash is cut into 8 blocks of 8 bits, and those that agree in two of them are compared: no
    pair of up to 6 differing bits can escape, and of those with 8 about one in fourteen does.
    """
    parts = -(-path.stat().st_size // (ENTRY.itemsize * _PART))
    for first, second in combinations(range(_BLOCKS), 2):
        for part in range(parts):
            entries, keys = _gather(path, first, second, part, parts)
            yield from _compare(entries, keys, first, second, distance)


def _blocks(hashes: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint8]:
    return hashes.view(np.uint8).reshape(-1, _BLOCKS)


def _gather(
    path: Path, first: int, second: int, part: int, parts: int
) -> tuple[Entries, npt.NDArray[np.uint32]]:
    """Return the entries whose two blocks fall into a part of all their values, sorted by them."""
    kept = []
    with path.open("rb") as file:
        while len(chunk := np.fromfile(file, ENTRY, _CHUNK)):
            chosen = _keys(chunk, first, second) * np.uint32(parts) >> np.uint32(16) == part
            kept.append(chunk[chosen])
    entries = np.concatenate(kept) if kept else np.empty(0, ENTRY)
    keys = _keys(entries, first, second)
    order = np.lexsort((entries["hash"], keys))
    return entries[order], keys[order]


def _keys(entries: Entries, first: int, second: int) -> npt.NDArray[np.uint32]:
    blocks = _blocks(np.ascontiguousarray(entries["hash"])).astype(np.uint32)
    return blocks[:, first] << np.uint32(8) | blocks[:, second]


def _compare(
    entries: Entries, keys: npt.NDArray[np.uint32], first: int, second: int, distance: int
) -> Iterator[tuple[int, int, int]]:
    hashes, ids = np.ascontiguousarray(entries["hash"]), entries["id"]
    at = np.arange(len(entries))
    earlier = [block for block in range(second) if block != first]
    for step in range(1, _WINDOW + 1):
        at = at[at + step < len(entries)]
        at = at[keys[at] == keys[at + step]]
        if not len(at):
            return
        differing = _blocks(hashes[at] ^ hashes[at + step])
        bits = _ONES[differing].sum(axis=1)
        # A pair that agrees in more than two blocks comes up at the first two of them only.
        new = (bits <= distance) & (differing[:, earlier] != 0).all(axis=1)
        for i, count in zip(at[new], bits[new], strict=True):
            one, other = sorted((int(ids[i]), int(ids[i + step])))
            yield one, other, int(count)

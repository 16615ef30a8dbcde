"""A rank that reduces through shared memory.

    python shared_memory_rank.py FILE RANK RANKS PIECE SIZE ...

Rank 0 makes the file beforehand. Writes what it got to FILE.RANK.npy, vectors one after the other.
"""

import mmap
import os
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from tests.train.native_calls import call
from train.distributed import shared_memory


def vector(rank: int, size: int) -> np.ndarray:
    """Values of many magnitudes: sums depend on the order of the ranks."""
    rng = np.random.default_rng([rank, size])
    return (rng.normal(size=size) * 10.0 ** rng.integers(-3, 4, size)).astype(np.float32)


def main() -> None:
    path, rank, ranks, piece, *sizes = Path(sys.argv[1]), *map(int, sys.argv[2:])
    handle = os.open(path, os.O_RDWR)
    memory = mmap.mmap(handle, shared_memory.num_bytes(ranks, piece))
    shared_memory.share(memory, rank, ranks, piece)
    totals = [call("all_reduce_shared", [vector(rank, n)], [(n,)])[0] for n in sizes]
    np.save(f"{path}.{rank}.npy", np.concatenate(totals))


if __name__ == "__main__":
    main()

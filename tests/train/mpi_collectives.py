"""A rank that uses the MPI engine and writes down, rank by rank, what it got.

mpirun -n N python tests/train/mpi_collectives.py FOLDER
"""

import sys
from pathlib import Path

import numpy as np

import train  # noqa: F401  sets the environment before MindSpore is loaded

# Around where OpenMPI changes its algorithm (10 kB, 1 MB), and none divides evenly.
SIZES = (1, 7, 1001, 2501, 100_003, 700_001)


def own_vector(rank: int, size: int) -> np.ndarray:
    """Values of very different magnitude, so that the order of additions shows."""
    rng = np.random.default_rng(100 * rank + 1)
    return (rng.normal(size=size) * 10.0 ** rng.integers(-6, 6, size)).astype(np.float32)


def own_counts(rank: int) -> np.ndarray:
    """None of the sums but the first is a float32, nor the last a float64."""
    return np.array([[1, 2**24 + rank], [2**40 + 1, 2**53 + rank]])


def main() -> None:
    import os

    from mindspore import Tensor

    from train import cluster
    from train.collectives.mpi import MPICollectives

    place = cluster.identify(os.environ, "CPU")
    assert place.engine == "mpi"
    cluster.start(place)
    collectives = MPICollectives()
    assert collectives.world_size == place.world_size
    cell = collectives.all_reduce_cell()
    assert cell is not None
    results = {}
    for size in SIZES:
        vector = own_vector(place.rank, size)
        results[f"sum_{size}"] = cell(Tensor(vector)).asnumpy()
        results[f"mean_{size}"] = collectives.mean(vector)
        results[f"broadcast_{size}"] = collectives.broadcast(vector)
    results["counts"] = collectives.sum_counts(own_counts(place.rank))
    results["yes"] = collectives.sum_counts(np.array([place.rank == 1]))
    collectives.barrier()
    np.savez(Path(sys.argv[1]) / f"rank{place.rank}.npz", **results)
    cluster.close(place)


if __name__ == "__main__":
    main()

"""A rank that uses the MPI engine and writes down, rank by rank, what it got.

mpirun -n N python tests/train/distributed/mpi_rank.py FOLDER
"""

import sys
from pathlib import Path

import numpy as np

from tests.train.numpy_half import HALVES

# Around where OpenMPI changes its algorithm (10 kB, 1 MB), and none divides evenly.
SIZES = (1, 7, 1001, 2501, 100_003, 700_001)


def own_vector(rank: int, size: int) -> np.ndarray:
    """Values of very different magnitude, so that the order of additions shows."""
    rng = np.random.default_rng(100 * rank + 1)
    return (rng.normal(size=size) * 10.0 ** rng.integers(-6, 6, size)).astype(np.float32)


def own_gradients(rank: int) -> list[np.ndarray]:
    """Of some parameters, the first larger than any bucket."""
    rng = np.random.default_rng(rank)
    shapes = [(30, 40), (7,), (5, 9), (100,), (3, 3, 11)]
    return [rng.normal(size=shape).astype(np.float32) for shape in shapes]


def spoilt_vector(rank: int) -> np.ndarray:
    """NaN and infinities of one rank only, of two, and one that comes of the addition."""
    vector = np.ones(12, np.float32)
    vector[rank] = np.nan
    vector[3 + rank] = np.inf
    vector[6] = np.inf if rank else -np.inf
    vector[7:9] = 40_000.0, 3e38
    return vector


def own_counts(rank: int) -> np.ndarray:
    """None of the sums but the first is a float32, nor the last a float64."""
    return np.array([[1, 2**24 + rank], [2**40 + 1, 2**53 + rank]])


def main() -> None:
    import os

    from mindspore import Tensor

    from train.distributed import cluster
    from train.distributed.mpi_engine import MPICollectives, PythonAllReduce
    from train.optim.update import Flatten
    from train.step.reduction import Exchange, Reduction

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
    for precision in HALVES:
        in_half = collectives.all_reduce_cell(precision)
        assert in_half is not None
        in_python = PythonAllReduce(collectives._comm_of_steps, precision)
        for name, reduce in (("native", in_half), ("python", in_python)):
            for size in SIZES[:-1]:
                vector = Tensor(own_vector(place.rank, size))
                results[f"{name}_{precision}_{size}"] = reduce(vector).asnumpy()
            vector = Tensor(spoilt_vector(place.rank))
            results[f"{name}_{precision}_spoilt"] = reduce(vector).asnumpy()
        gradients = own_gradients(place.rank)
        tail = Tensor(np.array([1 / 3, place.rank + 1e-3], np.float32))
        for kind, wire in ((precision, in_half), ("float32", None)):
            for bucket in (0, 500):
                exchange = Exchange(place.world_size, cell, wire, bucket)
                sizes = [g.size for g in gradients]
                reduction = Reduction(exchange, sizes, tail.size, Flatten())
                mean, own_tail = reduction([Tensor(g) for g in gradients], tail)
                results[f"gradient_{kind}_{bucket}"] = mean.asnumpy()
                results[f"tail_{kind}_{bucket}"] = own_tail.asnumpy()
    results["counts"] = collectives.sum_counts(own_counts(place.rank))
    results["yes"] = collectives.sum_counts(np.array([place.rank == 1]))
    collectives.barrier()
    np.savez(Path(sys.argv[1]) / f"rank{place.rank}.npz", **results)
    cluster.close(place)


if __name__ == "__main__":
    main()

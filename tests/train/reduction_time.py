"""Prints how long the compiled step's reduction takes with the engine that connects the ranks.

mpirun -n 2 --bind-to core python tests/train/reduction_time.py
msrun --worker_num 2 --local_worker_num 2 --join True python tests/train/reduction_time.py
"""

import os
import time

import numpy as np

# Values of the message: a scalar, the shared branches of WRN-16-2 and of WRN-28-4, and 32 MB.
SIZES = (1, 700_000, 5_900_000, 8_000_000)
REPEATS = 30


def main() -> None:
    from mindspore import Tensor, nn

    from train import build
    from train.distributed import cluster

    class Step(nn.Cell):
        """The reduction with something before and after it, as in a step."""

        def __init__(self, all_reduce: nn.Cell) -> None:
            super().__init__()
            self.all_reduce = all_reduce

        def construct(self, vector: Tensor) -> Tensor:
            return self.all_reduce(vector * 0.5) + 1.0

    place = cluster.identify(os.environ, "CPU")
    if cluster.is_scheduler(os.environ):
        cluster.run_scheduler()
        return
    cluster.start(place)
    collectives = build.build_collectives(place)
    cell = collectives.all_reduce_cell()
    assert cell is not None, "start this with two ranks or more"
    step = Step(cell)
    for size in SIZES:
        vector = Tensor(np.ones(size, np.float32))
        step(vector).asnumpy()  # compiles
        times = []
        for _ in range(REPEATS):
            collectives.barrier()
            begin = time.perf_counter()
            step(vector).asnumpy()
            times.append(1000 * (time.perf_counter() - begin))
        if place.is_first:
            low, middle = min(times), np.median(times)
            print(
                f"{place.engine:9s}  {4 * size / 1e6:6.1f} MB  fastest {low:7.2f} ms  "
                f"median {middle:7.2f} ms",
                flush=True,
            )
    collectives.barrier()
    cluster.close(place)


if __name__ == "__main__":
    main()

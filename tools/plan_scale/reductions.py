"""Worker: times bare reductions, with nothing to compute between them.

Every rank runs ``python -m tools.plan_scale.reductions FILE``; rank 0 writes FILE, a JSON object
{bytes: [seconds, ...]}.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

# Float32 values of the messages. Those of real steps (0.7 and 5.9 million values) are not among
# them: what is fitted on these predicts those.
SIZES = (1, 10_000, 100_000, 300_000, 1_000_000, 3_000_000, 8_000_000)
_REPEATS = 20


def main(file: Path) -> None:
    """Times every size on this rank; rank 0 writes the file."""
    from train import build
    from train.distributed import cluster

    place = cluster.identify(os.environ, "CPU")
    if cluster.is_scheduler(os.environ):
        cluster.run_scheduler()
        return
    cluster.start(place)
    times = _time_all(build.build_collectives(place))
    if place.is_first:
        file.write_text(json.dumps(times) + "\n", encoding="utf-8")
    cluster.close(place)


def _time_all(collectives: Any) -> dict[int, list[float]]:
    """Bytes of the message -> seconds of every repetition."""
    from mindspore import Tensor, nn

    class Reduce(nn.Cell):
        """The reduction inside a graph, as in a step, between two cheap operators."""

        def __init__(self, all_reduce: nn.Cell) -> None:
            super().__init__()
            self.all_reduce = all_reduce

        def construct(self, vector: Tensor) -> Tensor:
            """(n,) -> (n,)."""
            return self.all_reduce(vector * 0.5) + 1.0

    reduce = Reduce(collectives.all_reduce_cell())
    found: dict[int, list[float]] = {}
    for size in SIZES:
        vector = Tensor(np.ones(size, np.float32))
        reduce(vector).asnumpy()  # compiles
        found[vector.nbytes] = []
        for _ in range(_REPEATS):
            collectives.barrier()
            begin = time.perf_counter()
            reduce(vector).asnumpy()
            found[vector.nbytes].append(round(time.perf_counter() - begin, 6))
    collectives.barrier()
    return found


if __name__ == "__main__":
    main(Path(sys.argv[1]))

"""One rank of a job up to its first collectives, in the place of the training program.

It joins the others as ``python -m train`` does, and leaves at once.
"""

import os

import numpy as np

from train import environment

environment.prepare_for_mindspore()

from train.distributed import cluster  # noqa: E402
from train.distributed.mindspore_engine import MindSporeCollectives  # noqa: E402


def main() -> None:
    """Serve as scheduler, or be a rank."""
    if cluster.is_scheduler(os.environ):
        cluster.run_scheduler()
        return
    place = cluster.identify(os.environ, "Ascend")
    cluster.start(place)
    collectives = MindSporeCollectives(place.rank, place.world_size, on_cpu=False)
    mine = np.arange(place.world_size, dtype=np.float32) == place.rank
    everyone = collectives.mean(mine.astype(np.float32)) * place.world_size
    assert everyone.tolist() == [1.0] * place.world_size
    collectives.barrier()
    cluster.close(place)


if __name__ == "__main__":
    main()

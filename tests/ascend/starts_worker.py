"""One rank of a job up to its first collectives, in the place of the training program.

It joins the others as ``python -m train`` does, and leaves at once.
"""

import os
import time
from pathlib import Path

import numpy as np

from train import environment

environment.prepare_for_mindspore()

from train.distributed import cluster  # noqa: E402
from train.distributed.mindspore_engine import MindSporeCollectives  # noqa: E402

# Values of the first AllReduce, by which it can be told from the barrier's.
VALUES = 5
# The folder where the ranks note that they have been here, and how long they wait for each other.
NOTES = "TEST_NOTES"
_SECONDS = 120


def main() -> None:
    """Serve as scheduler, or be a rank."""
    if cluster.is_scheduler(os.environ):
        cluster.run_scheduler()
        return
    place = cluster.identify(os.environ)
    assert place.device_target == "Ascend"
    cluster.start(place)
    collectives = MindSporeCollectives(place.rank, place.world_size, on_cpu=False)
    collectives.mean(np.ones(VALUES, np.float32))
    collectives.barrier()
    _wait_for_all(place)
    cluster.close(place)


def _wait_for_all(place: cluster.Cluster) -> None:
    """Wait as HCCL's barrier does: the stand-in's returns at once, and rank 0 must not leave."""
    notes = Path(os.environ[NOTES])
    (notes / f"rank_{place.rank}").touch()
    deadline = time.monotonic() + _SECONDS
    while len(list(notes.glob("rank_*"))) < place.world_size and time.monotonic() < deadline:
        time.sleep(0.05)


if __name__ == "__main__":
    main()

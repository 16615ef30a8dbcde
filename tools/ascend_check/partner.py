"""A rank that joins the others and then does nothing: python -m tools.ascend_check.partner."""

import os
import time

from train.environment import prepare_for_mindspore


def main() -> None:
    """Join; the one who started this process ends it."""
    prepare_for_mindspore()
    from train.distributed import cluster

    cluster.start(cluster.identify(os.environ, "Ascend"))
    while True:
        time.sleep(60)


if __name__ == "__main__":
    main()

"""``python -m train CONFIG [key.sub=value ...]``: one rank of a training run."""

import argparse
import os
import signal
from collections.abc import Sequence
from pathlib import Path

from train import failure, mpirun
from train.configfile import load_config


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs this rank; the exit code."""
    options = _parse(arguments)
    try:
        config = load_config(options.config, options.overrides)
        # MindSpore takes seconds to import: a mistake in the configuration is told before.
        from train import cluster
        from train.trainer import Trainer

        if cluster.is_scheduler(os.environ):
            cluster.run_scheduler()
            return 0
        place = cluster.identify(os.environ, config.device)
        cluster.start(place)
        Trainer(config, place).run()
        cluster.close(place)
    except Exception as error:
        mpirun.let_the_first_speak(os.environ)
        return failure.report(error)
    except KeyboardInterrupt:  # before the training: from then on it is a request to stop
        return 128 + signal.SIGINT
    return 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m train", description=__doc__)
    parser.add_argument("config", type=Path, help="YAML file, see configs/")
    parser.add_argument(
        "overrides", nargs="*", metavar="key.sub=value", help="replaces a value of the file"
    )
    return parser.parse_args(arguments)


if __name__ == "__main__":
    failure.explain_crashes()
    code = main()
    if code:
        failure.leave(code)

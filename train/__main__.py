"""``python -m train CONFIG [key.sub=value ...]``: one rank of a training run."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from train.configfile import load_config
from train.errors import UserError

USER_ERROR = 2


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
    except UserError as error:
        for line in str(error).splitlines():
            print(f"error: {line}", file=sys.stderr)
        return USER_ERROR
    return 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m train", description=__doc__)
    parser.add_argument("config", type=Path, help="YAML file, see configs/")
    parser.add_argument(
        "overrides", nargs="*", metavar="key.sub=value", help="replaces a value of the file"
    )
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())

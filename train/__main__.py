"""``python -m train CONFIG [key.sub=value ...]``: one rank of a training run."""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

import train.requirements  # noqa: F401  ends here, in one line, where something is not installed
from train import environment
from train.config.reader import load_config
from train.distributed import mpirun
from train.process import health
from train.program import Parser, exit_code, outlive_output
from train.run import object_storage
from train.run.run_folder import RunFolder

# The other ranks wait in vain meanwhile, so this is no time to be patient with a store.
_SECONDS_AFTER_A_FAILURE = 60.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run this rank; return the exit code."""
    return exit_code(lambda: _run(arguments))


def _run(arguments: Sequence[str] | None) -> int:
    options = _parse(arguments)
    folder: RunFolder | None = None
    try:
        config = load_config(options.config, options.overrides)
        # MindSpore takes seconds to import: report mistakes in the configuration first.
        environment.prepare_for_mindspore()
        from train.distributed import cluster
        from train.trainer import Trainer

        outlive_output()
        if cluster.is_scheduler(os.environ):
            cluster.run_scheduler()
            return 0
        place = cluster.identify(os.environ, config.device)
        # May take an hour, and the ranks do not wait for each other so long once they are joined.
        data = object_storage.fetch(config, place.is_first, place.shows_progress)
        cluster.start(place)
        trainer = Trainer(config, place)
        folder = trainer.folder
        trainer.run()
        folder.close()
        cluster.close(place)
        data.release()
    except Exception as error:
        mpirun.wait_for_rank_0_to_report(os.environ)
        code = health.report(error)
        if folder is not None:
            folder.close(_SECONDS_AFTER_A_FAILURE)
        return code
    return 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser(prog="python -m train", description=__doc__)
    parser.add_argument("config", type=Path, help="YAML file, see configs/")
    parser.add_argument(
        "overrides", nargs="*", metavar="key.sub=value", help="replaces a value of the file"
    )
    return parser.parse_args(arguments)


if __name__ == "__main__":
    health.explain_crashes()
    code = main()
    if code:
        health.leave(code)

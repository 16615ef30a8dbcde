"""``python -m train CONFIG [key.sub=value ...]``: one rank of a training run."""

import os
import sys
from collections.abc import Callable, Sequence
from functools import partial

import train.process.signals
import train.program.requirements  # noqa: F401  ends here, in one line, where something is not installed
from train import command_line, environment
from train.config.reader import load_config
from train.config.schema import Config
from train.distributed import mpirun
from train.preflight import checks
from train.process import health, signals
from train.process.collector import objects_kept
from train.process.health import Heartbeat
from train.process.save import save_requests
from train.program.ending import exit_code, outlive_output
from train.run import object_storage
from train.run.final_report import write_report
from train.run.ownership import Ownership
from train.run.run_folder import RunFolder

# The other ranks wait in vain meanwhile, so this is no time to be patient with a store.
_SECONDS_AFTER_A_FAILURE = 60.0

_say: Callable[[str], None] = partial(print, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run this rank; return the exit code."""
    return exit_code(lambda: _run(sys.argv[1:] if arguments is None else arguments))


def _run(arguments: Sequence[str]) -> int:
    folder: RunFolder | None = None
    owner: Ownership | None = None
    heartbeat = Heartbeat(os.environ)
    try:
        given = command_line.parse(arguments)
        if given is None:
            return 0
        # MindSpore takes seconds to import: report mistakes first.
        config = load_config(given.config, given.overrides)
        notes = _check(config)
        environment.prepare_for_mindspore()
        from train.distributed import cluster
        from train.trainer import Trainer

        outlive_output()
        if cluster.is_scheduler(os.environ):
            cluster.run_scheduler()
            return 0
        place = cluster.identify(os.environ, config.device)
        if place.is_first:
            checks.check_folder(config)
            owner = Ownership(config.run_folder, _say)
            for note in notes:
                _say(f"note: {note}")
        # May take an hour, and the ranks do not wait for each other so long once they are joined.
        heartbeat.enter("download")
        shown = place.shows_progress
        data = object_storage.fetch(config, place.is_first, shown, heartbeat.beat)
        weights = object_storage.initial_weights(config, heartbeat.beat) if place.is_first else None
        heartbeat.enter("join")
        cluster.start(place)
        heartbeat.enter("prepare")
        trainer = Trainer(config, place, owner, heartbeat, weights)
        folder = trainer.folder
        with objects_kept():
            trainer.run()
        heartbeat.enter("upload")
        if place.is_first and config.report and folder.read_summary() is not None:
            write_report(folder.path, heartbeat.beat, _say)
        folder.close()
        cluster.close(place)
        data.release()
    except Exception as error:
        mpirun.wait_for_rank_0_to_report(os.environ)
        code = health.report(error)
        if folder is not None:
            folder.close(_SECONDS_AFTER_A_FAILURE)
        return code
    finally:
        if owner is not None:
            owner.release()
    return 0


def _check(config: Config) -> Sequence[str]:
    """Check a run before anything starts; return what is allowed but may not be meant."""
    ranks, here = environment.number_of_ranks(os.environ)
    on_cpu = config.device == "CPU" or not environment.visible_npus(os.environ)
    return checks.check(config, ranks, here, on_cpu)


if __name__ == "__main__":
    health.explain_crashes()
    save_requests.listen()
    code = main()
    if code:
        health.leave(code)
    signals.ignore()

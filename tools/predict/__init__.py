"""python -m tools predict: what a trained network says of pictures and scenes.

Read job.py first: it shows the whole way. inputs.py lists what is to be predicted; decoding.py
makes of a file what the network sees, as `tools prepare` and the evaluation did; predictor.py
computes; pictures.py and tables.py write. work.py is the folder in which several processes do it
together, and go on after a kill. scenes/ is about satellite scenes.
"""

import argparse
import os
import signal
import sys
from pathlib import Path

from tools.common.command_line import describe
from tools.common.network_options import add_computing_options, add_network_options
from tools.common.picture_files import EXTENSIONS
from tools.predict import kinds
from tools.predict.options import Options
from tools.predict.places import check_places
from tools.predict.scenes import SceneOptions
from tools.predict.scenes import add_arguments as add_scene_arguments
from tools.predict.share import Share
from tools.prepare.recipe import MAX_PIXELS
from train.errors import FAILURE, error_text

_INTERRUPTED = 128 + signal.SIGINT
# SIGTERM and SIGHUP end a tool by SystemExit (tools/__main__.py).
_STOPPED = (_INTERRUPTED, 128 + signal.SIGTERM, 128 + signal.SIGHUP)

_EPILOG = """\
DIR holds predictions.csv and predictions.jsonl, with segmentation tasks also shares.csv, masks/ and
legend_TASK.png and .json, with --pictures annotated copies in pictures/, and scenes/. It appears
when it is whole; a command that was stopped or killed goes on when it is given again. Started
several times, by python -m launch --tool predict, mpirun or srun, each process does its share, and
the last one makes DIR.

"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    about = (kinds.__doc__ or "").split("\n\n", 1)[1]
    describe(parser, "Say what a trained network sees in pictures and scenes.", _EPILOG + about)
    add_network_options(parser)
    add = parser.add_argument
    endings = ", ".join(EXTENSIONS)
    text = f"picture, scene, folder (with all below it: {endings}), or address of any of these"
    add("inputs", metavar="INPUT", nargs="*", help=text)
    add("--out", metavar="DIR", type=Path, required=True, help="folder to make")
    text = "text file with further inputs, a path or address in every line"
    add("--list", metavar="FILE", type=Path, help=text)
    text = "average the probabilities of a picture and its three mirror images"
    add("--flips", action="store_true", help=text)
    add_computing_options(parser)
    add("--pictures", action="store_true", help="make annotated copies of the pictures")
    text = f"most pixels of a picture, as it comes (default: {MAX_PIXELS})"
    add("--max-pixels", metavar="N", type=int, default=MAX_PIXELS, help=text)
    add("--scenes", action="store_true", help="take every TIFF for a scene")
    add("--as-pictures", action="store_true", help="take every TIFF for a picture")
    text = "leave unreadable pictures and scenes out, and list them in skipped.csv"
    add("--skip-unreadable", action="store_true", help=text)
    add("--overwrite", action="store_true", help="replace DIR once the new one is complete")
    add_scene_arguments(parser)


def run(arguments: argparse.Namespace, argv: list[str]) -> int:
    """Run the command; return the exit code."""
    options, scene_options = Options.of(arguments), SceneOptions.of(arguments)
    share = Share.of(os.environ)
    share.choose_device(os.environ)
    check_places(options)
    # Here, as it imports MindSpore.
    from tools.predict.job import Job
    from train.storage.retry import StorageError

    job = Job(options, scene_options, share, lambda text: print(text, flush=True))
    try:
        job.run()
    except StorageError as error:
        print(error_text(error), file=sys.stderr)
        return FAILURE
    except (KeyboardInterrupt, SystemExit) as stop:
        code = _INTERRUPTED if isinstance(stop, KeyboardInterrupt) else stop.code
        if code not in _STOPPED or job.work is None or not job.work.folder.exists():
            raise
        print("stopped; the same command goes on", file=sys.stderr, flush=True)
        return code
    return 0

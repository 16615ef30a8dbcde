"""python -m tools copy: copies folders and files between this machine and object storage."""

import argparse
import sys
import time

from tools.common.command_line import describe
from train.errors import FAILURE, UserError, error_text
from train.storage.copier import Copier, Progress
from train.storage.retry import StorageError
from train.storage.stores import open_store

_EPILOG = """\
SRC and DST are paths, s3://BUCKET/KEY or obs://BUCKET/KEY; one of the two is on this machine.
DST is always a folder: a file is copied into it, and of a folder everything below it, except
what begins with a dot. What DST holds already, with the same size and not older, is left alone;
nothing is ever deleted. Files that a data set's manifest.json or a checkpoint's state.json lists
are compared with the SHA-256 that stands there when they are copied to this machine.

variables:
  OBS_ENDPOINT, S3_ENDPOINT, AWS_ENDPOINT_URL    address of the service
  OBS_REGION, AWS_REGION                         region, if the endpoint does not say it
  OBS_ACCESS_KEY_ID, OBS_SECRET_ACCESS_KEY, OBS_SECURITY_TOKEN
                                                 keys, also without OBS_; or those of AWS_...
  OBS_ADDRESSING_STYLE, S3_ADDRESSING_STYLE      virtual (default) or path

exit code: 0; 2 a mistake in what was asked for; 1 the store failed in spite of all tries."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    describe(parser, "Copy a folder or file from or to object storage (S3, OBS).", _EPILOG)
    add = parser.add_argument
    add("src", metavar="SRC", help="folder or file to copy")
    add("dst", metavar="DST", help="folder to copy into; made if need be")
    add("--all", action="store_true", help="copy also what is there already")
    add("--missing-ok", action="store_true", help="it is no error if there is nothing at SRC")
    add("--tries", metavar="N", type=int, default=6, help="tries for each file (default: 6)")


def run(arguments: argparse.Namespace, argv: list[str]) -> int:
    """Run the command; return the exit code."""
    if arguments.tries < 1:
        raise UserError(f"--tries must be at least 1, not {arguments.tries}")
    source = open_store(arguments.src)
    target = open_store(arguments.dst)
    progress = Progress(lambda line: print(line, flush=True))
    copier = Copier(source, target, arguments.tries, progress.move)
    started = time.monotonic()
    try:
        plan = copier.plan(arguments.all, arguments.missing_ok)
        if plan.files:
            print(f"copying {_amount(len(plan.files), plan.bytes)} ...", flush=True)
        progress.begin(plan.bytes)
        copied = copier.run(plan)
    except StorageError as error:
        print(error_text(error), file=sys.stderr)
        return FAILURE
    for name in copied.vanished:
        print(f"{name} was removed before it could be copied", file=sys.stderr)
    print(
        f"copied {_amount(copied.files, copied.bytes)} from {source.address} to {target.address} "
        f"in {time.monotonic() - started:.1f} s; {copied.unchanged} were there already"
    )
    return 0


def _amount(files: int, size: int) -> str:
    return f"{files} {'file' if files == 1 else 'files'} ({size / 1e6:.1f} MB)"

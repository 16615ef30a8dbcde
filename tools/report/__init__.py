"""python -m tools report: what one run, or several side by side, have learned, as one page."""

import argparse
import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tools.common.command_line import check_ranges, describe, refused
from train.errors import FAILURE, UserError, error_text
from train.files import replace_file
from train.run.final_report import REPORT
from train.storage.retry import StorageError

if TYPE_CHECKING:
    from tools.report.looks import Looks
    from tools.report.runs import RunRecord

_EPILOG = """\
It shows curves, figures with their uncertainty, confusions, mistakes with their pictures, where
the tasks look, and the configuration.

The page needs no other file and loads nothing. Every figure is that of summary.json. For pictures
(confident mistakes, attention, masks beside answers) the newest checkpoint answers again, on
records that are on this disk. A run that is not completed is reported as far as it is."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    describe(
        parser,
        "Write a report of one run, or of several side by side, as one page.",
        _EPILOG,
    )
    add = parser.add_argument
    add("runs", metavar="RUN", nargs="+", help="run folders or their addresses")
    add(
        "--out",
        metavar="FILE",
        type=Path,
        help=f"default: {REPORT} in the folder of the run; of several runs, or of one in object "
        "storage, here",
    )
    add("--no-pictures", action="store_true", help="only what the files of the runs say: quick")
    add(
        "--looked-at",
        metavar="N",
        type=int,
        default=1000,
        help="most pictures of a data set that are looked at for mistakes (default: 1000)",
    )
    add(
        "--device",
        choices=("auto", "CPU", "GPU", "Ascend"),
        default="auto",
        help="where the network answers (default: auto)",
    )


def run(arguments: argparse.Namespace, argv: list[str]) -> int:
    """Run the command; return the exit code."""
    try:
        return _report(arguments)
    except StorageError as error:
        _say(error_text(error))
        return FAILURE


def _report(arguments: argparse.Namespace) -> int:
    from tools.report.page import page
    from tools.report.runs import MOST_RUNS, RunRecord, named_apart
    from train.inference.checkpoint_source import on_this_disk
    from train.storage.address import is_remote

    check_ranges(arguments, {"looked_at": (1, 10**6)})
    places: list[str] = arguments.runs
    if len(places) > MOST_RUNS:
        raise UserError(f"{len(places)} runs: at most {MOST_RUNS} fit side by side")
    out: Path = arguments.out or Path(REPORT)
    if arguments.out is None and len(places) == 1 and not is_remote(places[0]):
        out = Path(places[0]) / REPORT
    with contextlib.ExitStack() as stack:
        folders = [stack.enter_context(on_this_disk(place, _say)) for place in places]
        read = [RunRecord.read(f, p) for f, p in zip(folders, places, strict=True)]
        runs = named_apart(read)
        seen: dict[str, Looks | str | None] = {}
        if not arguments.no_pictures:
            seen = {r.name: _look(r, arguments.looked_at, arguments.device) for r in runs}
        content = page(runs, seen)
        for record in runs:
            looks = seen.get(record.name)
            if looks is not None and not isinstance(looks, str):
                _add_to_events(record, looks)
    with refused(out, "cannot be written"):
        replace_file(out, content.encode())
    print(out)
    return 0


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _look(run: "RunRecord", most: int, device: str) -> "Looks | str":
    """Return what was seen of a run's pictures, or why nothing was."""
    from tools.report.asking import look

    try:
        return look(run, most, device)
    except UserError as error:
        # Some of what is wrong is said of the run itself, by its name.
        reason = str(error).removeprefix(f"{run.name}: ")
        _say(f"note: {run.name}: no pictures: {reason}")
        return reason


def _add_to_events(run: "RunRecord", looks: "Looks") -> None:
    """Let TensorBoard show the pictures of a run that has event files, where that is installed."""
    from train.run.event_files import FOLDER, is_installed

    if (run.folder / FOLDER).is_dir() and is_installed():
        from tools.report import event_pictures

        try:
            event_pictures.write(run.folder, looks)
        except OSError as error:
            _say(f"note: {run.name}: no pictures for TensorBoard: {error.strerror}")

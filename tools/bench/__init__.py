"""python -m tools bench: how fast this is, compared with the alternatives.

Workers are imported from this package too, with interpreters that lack most requirements: what the
command itself needs is imported where it is used.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

from tools.bench.rows import ROWS, cases_of
from train.temporary import temporary_folder

_EPILOG = """\
Peers run in turn, pinned to the same cores, while the others sleep. Every round gives a ratio; the
table shows the median of the ratios and their range. On a busy machine the figures say little.
A row with PyTorch needs torch: pip install -r requirements-bench.txt into an environment of its
own, and --python PATH/bin/python."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.description = "Measure the speed of training and of what is around it, against peers."
    parser.epilog = _EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add = parser.add_argument
    add("rows", metavar="ROW", nargs="*", help=f"default: all; {', '.join(ROWS)}")
    add("--list", action="store_true", help="say what the rows measure, and end")
    add("--rounds", metavar="N", type=int, default=7, help="turns of every peer (default: 7)")
    add("--seconds", metavar="S", type=float, default=4, help="of a turn (default: 4)")
    add("--quick", action="store_true", help="one round of tiny sizes: only to try the command")
    add("--python", metavar="PATH", default=sys.executable, help="an interpreter that has torch")
    add("--json", metavar="FILE", type=Path, help="write everything that was measured")
    add("--keep", action="store_true", help="keep the other rows that FILE has already")
    add("--from", metavar="FILE", type=Path, dest="source", help="measure nothing, show FILE")
    add("--markdown", action="store_true", help="print the table for a Markdown page")
    add("--update", metavar="PAGE", type=Path, help="replace the table in a Markdown page")


def run(arguments: argparse.Namespace, argv: list[str]) -> int:
    """Run the command; return the exit code: 1 if a row ended before its end."""
    from tools.bench import text
    from tools.bench.results import Document

    if arguments.list:
        print("\n".join(f"{name:<12}{title}" for name, (_, title) in ROWS.items()))
        return 0
    _check(arguments)
    if arguments.source is not None:
        document = Document.read(arguments.source)
    else:
        document = Document()
        _measure(document, arguments)
    print(text.table(document, arguments.markdown))
    if arguments.update is not None:
        text.PART.replace(arguments.update, text.table(document, markdown=True))
    for failure in document.failures:
        print(f"not finished: {failure}", file=sys.stderr)
    return 1 if document.failures else 0


def _check(arguments: argparse.Namespace) -> None:
    """Raise a UserError that names what cannot be, before anything is measured."""
    from tools.bench import text
    from train.errors import UserError

    for name in arguments.rows:
        if name not in ROWS:
            raise UserError(f"{name}: no such row (there are: {', '.join(ROWS)})")
    if arguments.rounds < 1:
        raise UserError(f"--rounds {arguments.rounds}: must be at least 1")
    if not 0 < arguments.seconds <= 3600:
        raise UserError(f"--seconds {arguments.seconds:g}: must be above 0 and at most 3600")
    if arguments.keep and arguments.json is None:
        raise UserError("--keep: says what to do with the file of --json, which is not given")
    if arguments.source is not None and (arguments.rows or arguments.json is not None):
        raise UserError("--from: measures nothing, so neither rows nor --json can be given")
    if arguments.update is not None:
        text.PART.around(arguments.update)


def _measure(document: Any, arguments: argparse.Namespace) -> None:
    """Measure the rows; the file is written after each, so that an interruption loses one only."""
    from tools.bench.group import WorkerFailed
    from tools.bench.results import Measured, moment
    from tools.bench.session import Session, say

    def write() -> None:
        if arguments.json is not None:
            document.write(arguments.json)

    if arguments.keep and arguments.json.exists():
        document.rows = document.read(arguments.json).rows
    quick = arguments.quick
    rounds, seconds = (1, 0.1) if quick else (arguments.rounds, arguments.seconds)
    settings = {"rounds": rounds, "seconds": seconds, "quick": quick}
    for name in dict.fromkeys(arguments.rows or ROWS):
        write()
        title = ROWS[name][1]
        row = document.rows[name] = Measured(title, settings=settings, moment=moment())
        say(f"{name}: {title}")
        # The path of this folder is short, as that of a socket must be.
        with temporary_folder() as folder:
            session = Session(rounds, seconds, quick, arguments.python, folder)
            try:
                row.cases.extend(cases_of(name)(session))
            except WorkerFailed as error:
                row.failure = str(error)
    write()

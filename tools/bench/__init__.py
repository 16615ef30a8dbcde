"""python -m tools bench: how fast this is, side by side with what one would otherwise run.

Workers are imported from this package too, with interpreters that lack most requirements: what the
command itself needs is imported where it is used.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tools.bench.document import Document
    from tools.bench.session import Session

_EPILOG = """\
Peers run in turn, pinned to the same cores, while the others sleep. Every round gives a ratio; the
table shows the median of the ratios and their range. On a busy machine the figures say little.
A row with PyTorch needs torch: pip install -r requirements-bench.txt into an environment of its
own, and --python PATH/bin/python."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command line."""
    from tools.bench.rows import NAMES

    parser.description = "Measure the speed of training and of what is around it, against peers."
    parser.epilog = _EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add = parser.add_argument
    add("rows", metavar="ROW", nargs="*", help=f"default: all; {', '.join(NAMES)}")
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
    """Runs the command; the exit code: 1 if a row ended before its end."""
    from tools.bench import rows, text
    from tools.bench.document import Document

    if arguments.list:
        print("\n".join(f"{name:<12}{rows.row(name).TITLE}" for name in rows.NAMES))
        return 0
    _check(arguments)
    if arguments.source is not None:
        document = Document.read(arguments.source)
    else:
        document = _measure(arguments)
    print(text.table(document, arguments.markdown))
    if arguments.update is not None:
        text.update(arguments.update, document)
    for failure in document.failures:
        print(f"not finished: {failure}", file=sys.stderr)
    return 1 if document.failures else 0


def _check(arguments: argparse.Namespace) -> None:
    """Raises a UserError that names what cannot be, before anything is measured."""
    from tools.bench import text
    from tools.bench.rows import NAMES
    from train.errors import UserError

    for name in arguments.rows:
        if name not in NAMES:
            raise UserError(f"{name}: no such row (there are: {', '.join(NAMES)})")
    if arguments.rounds < 1:
        raise UserError(f"--rounds {arguments.rounds}: must be at least 1")
    if not 0 < arguments.seconds <= 3600:
        raise UserError(f"--seconds {arguments.seconds:g}: must be above 0 and at most 3600")
    if arguments.keep and arguments.json is None:
        raise UserError("--keep: says what to do with the file of --json, which is not given")
    if arguments.source is not None and (arguments.rows or arguments.json is not None):
        raise UserError("--from: measures nothing, so neither rows nor --json can be given")
    if arguments.update is not None:
        text.around_table(arguments.update)


@contextmanager
def _session(arguments: argparse.Namespace) -> Iterator[Session]:
    """A session with a folder of its own. Its path is short, as that of a socket must be."""
    from tools.bench.session import Session

    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        yield Session(
            rounds=1 if arguments.quick else arguments.rounds,
            seconds=0.1 if arguments.quick else arguments.seconds,
            quick=arguments.quick,
            python=arguments.python,
            folder=Path(folder),
            say=lambda text: print(text, file=sys.stderr, flush=True),
        )


def _measure(arguments: argparse.Namespace) -> Document:
    """Measures the rows; the file is written after each, so that an interruption loses one only."""
    from tools.bench import machine, rows
    from tools.bench.document import Document, Measured
    from tools.bench.group import WorkerFailed

    document = Document()
    if arguments.keep and arguments.json.exists():
        document.rows = Document.read(arguments.json).rows
    for name in dict.fromkeys(arguments.rows or rows.NAMES):
        if arguments.json is not None:
            document.write(arguments.json)
        with _session(arguments) as session:
            settings = {
                "rounds": session.rounds,
                "seconds": session.seconds,
                "quick": session.quick,
            }
            row = rows.row(name)
            measured = Measured(row.TITLE, settings=settings, moment=machine.moment())
            document.rows[name] = measured
            try:
                measured.cases.extend(row.measure(session))
            except WorkerFailed as error:
                measured.failure = str(error)
    if arguments.json is not None:
        document.write(arguments.json)
    return document

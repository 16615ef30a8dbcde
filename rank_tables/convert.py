"""Turns ModelArts' description of a job into a version 1.0 table."""

import argparse
from pathlib import Path

from rank_tables.console import emit, say
from rank_tables.load import from_document
from rank_tables.parse import read

DESCRIPTION = """\
Turns the form in which ModelArts describes a job (jobstart_hccl.json, template 2) into version 1.0,
its ranks in the order of the numbers at the end of the pods' names. What is in the file counts, not
its name: any other rank table is passed on as it is.
"""


def seconds(text: str) -> float:
    """Reads a duration."""
    value = float(text)
    if not 0 <= value < 1e9:
        raise ValueError
    return value


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of the command."""
    parser.add_argument(
        "path", metavar="PATH", type=Path, help="file, or the folder with jobstart_hccl.json in it"
    )
    parser.add_argument(
        "--wait",
        metavar="SECONDS",
        type=seconds,
        default=0.0,
        help="how long to wait for status: completed (default: not at all)",
    )
    parser.add_argument("--out", metavar="FILE.json", type=Path, help="file (default: printed)")


def run(arguments: argparse.Namespace) -> int:
    """Runs the command."""
    table = from_document(read(arguments.path, arguments.wait))
    if not table.converted:
        say(f"note: {table.source} is a version {table.version} table already: passed on as it is")
    # A note would be about what ModelArts has chosen, the order of its servers for instance.
    emit(table.to_json(), arguments.out, with_notes=False)
    return 0

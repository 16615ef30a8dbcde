"""Checks rank tables and tells everything that is wrong with them."""

import argparse
from pathlib import Path

from rank_tables import rules
from rank_tables.console import say
from rank_tables.load import from_document
from rank_tables.model import RankTableError, count, summary
from rank_tables.parse import read

DESCRIPTION = """\
Checks rank tables by the rules of HCCL and MindSpore, and tells everything that is wrong with them:
where, what, and what to do. Notes are about what is allowed but may surprise.

exit code: 0 all are valid, 1 some are not, 2 a file cannot be read
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of the command."""
    parser.add_argument("files", metavar="FILE", nargs="+", type=Path, help="files, or folders")


def run(arguments: argparse.Namespace) -> int:
    """Runs the command."""
    return max(_validate(path) for path in arguments.files)


def _validate(path: Path) -> int:
    try:
        document = read(path)
    except RankTableError as error:
        say(f"error: {error}")
        return 2
    report = rules.check(document)
    if report.violations:
        print(f"{document.path}: not valid, {count(len(report.violations), 'violation')}")
    else:
        table = from_document(document)
        form = ", converted from ModelArts' form" if table.converted else ""
        print(f"{document.path}: valid, {summary(table.version, table.servers)}{form}")
    for violation in report.violations:
        print(f"  {violation}")
    for note in report.notes:
        print(f"  note: {note}")
    return 1 if report.violations else 0

"""python -m tools compare: one table of completed runs, with the gain over single-task ones."""

import argparse
import json
from pathlib import Path

from tools.common.command_line import describe, refused
from tools.compare import report
from tools.compare.rows import Comparison
from tools.compare.runs import read_runs
from train.files import replace_file

_EPILOG = """\
Runs with one task are the baseline of the task of that name, and one row together; with several of
the same task their mean counts. Runs whose config.yaml differs in nothing but seed and run_dir are
one row too: mean and standard deviation. The gain is the mean over the tasks of
(metric - single-task metric) / single-task metric, in percent (Vandenhende et al., 2022, eq. 4)."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    describe(
        parser,
        "Compare completed runs: metric of every task, their mean, the average relative "
        "improvement over single-task runs, parameters and images trained.",
        _EPILOG,
    )
    add = parser.add_argument
    add("runs", metavar="RUN", type=Path, nargs="+", help="run folders, or their summary.json")
    add("--split", choices=("test", "val"), default="test", help="default: test")
    add("--markdown", action="store_true", help="tables for a Markdown page")
    add("--json", metavar="FILE", type=Path, help="write the figures into a file too")


def run(arguments: argparse.Namespace, argv: list[str]) -> int:
    """Run the command; return the exit code."""
    comparison = Comparison.of(read_runs(arguments.runs, arguments.split))
    if arguments.json is not None:
        tree = report.as_tree(comparison, arguments.split)
        with refused(arguments.json, "cannot be written"):
            replace_file(arguments.json, (json.dumps(tree, indent=1) + "\n").encode())
    print(report.report(comparison, arguments.split, arguments.markdown))
    return 0

"""python -m tools ascend-check: what an Ascend chip would be told to do, step by step.

MindSpore's real Ascend plugin compiles and runs a few steps and an evaluation: on a stand-in for
CANN, which counts (tests/ascend/README.md says what that proves), or with the CANN of this machine.
"""

import argparse
import json
from pathlib import Path

from tools.common.command_line import check_ranges, describe, refused
from train.errors import UserError

_EPILOG = """\
The data need not be here: they are made up. The class counts are those of tasks.NAME.classes, or of
the prepared data, or 10.

Where ASCEND_HOME_PATH is set, CANN is used instead of the stand-in: on an NPU if there is one, else
in MindSpore's dry run (MS_SIMULATION_LEVEL). It checks types and shapes of every operator, and only
MindSpore's own words tell what went wrong; nothing is counted then."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    describe(
        parser,
        "Compile, run and count a training step and an evaluation for an Ascend chip, without one. "
        "Exit code: 0; 1 if something cannot be converted, has no kernel, or fails.",
        _EPILOG,
    )
    add = parser.add_argument
    add("config", metavar="CONFIG", type=Path, nargs="?", help="YAML file, see configs/")
    add("overrides", metavar="key.sub=value", nargs="*", help="replaces a value of the file")
    text = "910A, 910B, A3, or a name as CANN says it, such as Ascend910B4; again for another one"
    add("--chip", metavar="CHIP", action="append", help=f"{text} (default: 910B)")
    add("--ranks", metavar="N", type=int, default=2, help="ranks of the job (default: 2)")
    add("--json", action="store_true", help="print JSON")
    text = "check all configurations and features for all chips, and write the table into a page"
    add(
        "--matrix", metavar="PAGE.md", type=Path, nargs="?", const=Path("docs/ascend.md"), help=text
    )
    add("--only", metavar="WORD", help="matrix: only the rows with this word in their name")


def run(arguments: argparse.Namespace, argv: list[str]) -> int:
    """Run the command; return the exit code."""
    check_ranges(arguments, {"ranks": (1, 16)})
    # Imported here: the stand-in is part of the tests, which an image may lack.
    try:
        from tools.ascend_check import check, matrix, report, result
    except ModuleNotFoundError as error:
        raise UserError(f"{error.name} is not here: ascend-check needs a whole checkout") from None

    if arguments.matrix is not None:
        with refused(arguments.matrix):
            return matrix.write(arguments.matrix, arguments.only or "")
    if arguments.config is None:
        raise UserError("CONFIG is missing (or --matrix)")
    from train.config.reader import load_config

    config = load_config(arguments.config, arguments.overrides)
    results = [check.check(config, chip, arguments.ranks) for chip in arguments.chip or ["910B"]]
    if arguments.json:
        print(json.dumps([result.as_tree(found) for found in results], indent=1))
    else:
        for found in results:
            report.show(found)
    return int(not all(found.passed for found in results))

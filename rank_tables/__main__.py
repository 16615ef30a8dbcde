"""python -m rank_tables COMMAND ...: makes, checks and shows rank tables."""

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from rank_tables.model import RankTableError

# Command: what it does. Its module has DESCRIPTION, add_arguments(parser) and run(arguments).
COMMANDS = {
    "generate": "make the table of this server",
    "validate": "check tables and tell everything that is wrong with them",
    "merge": "join the tables of several servers",
    "convert": "turn ModelArts' jobstart_hccl.json into version 1.0",
    "show": "show which NPU is which rank",
}


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise RankTableError(f"{message} (see {self.prog} --help)")


def main(argv: Sequence[str]) -> int:
    """Runs a command and returns its exit code: 2 for a mistake of the user's."""
    try:
        return _run(argv)
    except RankTableError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def _run(argv: Sequence[str]) -> int:
    listed = "\n".join(f"  {name:<10}{text}" for name, text in COMMANDS.items())
    parser = _Parser(
        prog="python -m rank_tables",
        usage="%(prog)s COMMAND ...",
        description="Rank tables of Ascend. COMMAND --help tells more.",
        epilog=f"commands:\n{listed}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", metavar="COMMAND", choices=COMMANDS, help="see below")
    command = parser.parse_args(argv[:1]).command
    # Only the module of the command is imported: a launcher may be waiting for it.
    module = importlib.import_module(f"rank_tables.{command}")
    own = _Parser(
        prog=f"python -m rank_tables {command}",
        description=module.DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    module.add_arguments(own)
    code: int = module.run(own.parse_args(argv[1:]))
    sys.stdout.flush()
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

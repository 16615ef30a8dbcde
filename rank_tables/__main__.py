"""python -m rank_tables COMMAND ...: makes, checks and shows rank tables."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from rank_tables.commands import convert, emit, show, validate
from rank_tables.generate import generate
from rank_tables.merge import merge
from rank_tables.parse import read
from train.errors import USER_ERROR, UserError, error_text

# Command: what it does, in the list of commands and then in its own help.
COMMANDS = {
    "generate": """\
make the table of this server

Makes the rank table of this server, version 1.0. Without options: all its NPUs (/dev/davinciN,
or else what npu-smi lists), with the addresses that hccn_tool prints, or else /etc/hccn.conf holds.

For several servers run it on each, with --out, and join the tables with the command merge.
""",
    "validate": """\
check tables and tell everything that is wrong with them

Checks rank tables by the rules of HCCL and MindSpore, and tells everything that is wrong with them:
where, what, and what to do. Notes are about what is allowed but may surprise.

exit code: 0 all are valid, 1 some are not, 2 a file cannot be read
""",
    "merge": """\
join the tables of several servers

Joins version 1.0 tables, given in any order, into one: the servers sorted by server_id, the ranks
numbered anew. Give the same file to every server.
""",
    "convert": """\
turn ModelArts' jobstart_hccl.json into version 1.0

Turns the form in which ModelArts describes a job (jobstart_hccl.json, template 2) into version 1.0,
its ranks in the order of the numbers at the end of the pods' names. What is in the file counts, not
its name: any other rank table is passed on as it is.
""",
    "show": """\
show which NPU is which rank

Shows which NPU of which server is which rank.
""",
}


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message} (see {self.prog} --help)")


def main(argv: Sequence[str]) -> int:
    """Run a command and return its exit code: 2 for a mistake of the user's."""
    try:
        code = _run(argv)
        sys.stdout.flush()
        return code
    except UserError as error:
        # The violations of a table stand indented below the line that names it.
        first, *violations = str(error).split("\n")
        print(error_text(first), *violations, sep="\n", file=sys.stderr)
        return USER_ERROR
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def _run(argv: Sequence[str]) -> int:
    texts = {name: text.partition("\n\n") for name, text in COMMANDS.items()}
    listed = "\n".join(f"  {name:<10}{summary}" for name, (summary, _, _) in texts.items())
    parser = _Parser(
        prog="python -m rank_tables",
        usage="%(prog)s COMMAND ...",
        description="Rank tables of Ascend. COMMAND --help tells more.",
        epilog=f"commands:\n{listed}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", metavar="COMMAND", choices=COMMANDS, help="see below")
    command = parser.parse_args(argv[:1]).command
    options = _parser_of(command, texts[command][2]).parse_args(argv[1:])
    if command == "validate":
        return max(validate(path) for path in options.files)
    if command == "show":
        show(options.path)
    elif command == "generate":
        emit(generate(options), options.out)
    elif command == "merge":
        emit(merge([read(path) for path in options.files]), options.out)
    else:
        convert(options.path, options.wait, options.out)
    return 0


def _parser_of(command: str, description: str) -> _Parser:
    """Return what reads the arguments of a command."""
    parser = _Parser(
        prog=f"python -m rank_tables {command}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    if command == "generate":
        add("--devices", metavar="LIST", help="physical numbers, such as 0,2,4-7 (default: all)")
        ips = "addresses of the devices, with commas, in the order of --devices (default: asked)"
        add("--device-ips", metavar="LIST", help=ips)
        add("--ipv6", action="store_true", help="IPv6 addresses (default: IPv4 where all have one)")
        add("--hccn-conf", metavar="FILE", type=Path, help="read addresses from this file only")
        name = "name of this server, different on each (default: its address)"
        add("--server-id", metavar="NAME", help=name)
    elif command == "validate":
        add("files", metavar="FILE", nargs="+", type=Path, help="files, or folders")
    elif command == "merge":
        add("files", metavar="FILE", nargs="+", type=Path, help="tables to join")
    elif command == "convert":
        place = "file, or the folder with jobstart_hccl.json in it"
        add("path", metavar="PATH", type=Path, help=place)
        wait = "how long to wait for status: completed (default: not at all)"
        add("--wait", metavar="SECONDS", type=seconds, default=0.0, help=wait)
    else:
        add("path", metavar="PATH", type=Path, help="file, or folder")
    if command in ("generate", "merge", "convert"):
        add("--out", metavar="FILE.json", type=Path, help="file (default: printed)")
    return parser


def seconds(text: str) -> float:
    """Return a duration."""
    value = float(text)
    if not 0 <= value < 1e9:
        raise ValueError
    return value


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

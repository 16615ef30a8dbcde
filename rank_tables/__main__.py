"""python -m rank_tables COMMAND ...: makes, checks and shows rank tables."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rank_tables.generate import generate
from rank_tables.load import check, from_document, parse, read
from rank_tables.merge import merge
from rank_tables.model import RankTableError, count
from train.errors import FAILURE, USER_ERROR, error_text
from train.files import replace_file
from train.program.command_line import Parser, command_of
from train.program.ending import exit_code

# Command: what it does, in the list of commands and then in its own help.
COMMANDS = {
    "generate": """make the table of this server

Makes the rank table of this server, version 1.0. Without options: all its NPUs (/dev/davinciN,
or else what npu-smi lists), with the addresses that hccn_tool prints, or else /etc/hccn.conf holds.

For several servers run it on each, with --out, and join the tables with the command merge.
""",
    "validate": """check tables and tell everything that is wrong with them

Checks rank tables by the rules of HCCL and MindSpore, and tells everything that is wrong with them:
where, what, and what to do. Notes are about what is allowed but may surprise.

exit code: 0 all are valid, 1 some are not, 2 a file cannot be read
""",
    "merge": """join the tables of several servers

Joins version 1.0 tables, given in any order, into one: the servers sorted by server_id, the ranks
numbered anew. Give the same file to every server.
""",
    "convert": """turn ModelArts' jobstart_hccl.json into version 1.0

Turns the form in which ModelArts describes a job (jobstart_hccl.json, template 2) into version 1.0,
its ranks in the order of the numbers at the end of the pods' names. What is in the file counts, not
its name: any other rank table is passed on as it is.
""",
    "show": """show which NPU is which rank

Shows which NPU of which server is which rank.
""",
}


def main(argv: Sequence[str]) -> int:
    """Run a command and return its exit code: 2 for a mistake of the user's."""
    return exit_code(lambda: _run(argv))


def _run(argv: Sequence[str]) -> int:
    texts = {name: text.partition("\n\n") for name, text in COMMANDS.items()}
    summaries = {name: summary for name, (summary, _, _) in texts.items()}
    command = command_of("python -m rank_tables", "Rank tables of Ascend.", summaries, argv)
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
        table = from_document(read(options.path, options.wait))
        if not table.converted:
            note = f"{table.source} is a version {table.version} table already: passed on as it is"
            print(f"note: {note}", file=sys.stderr)
        # A note would be about what ModelArts has chosen, the order of its servers for instance.
        emit(table.to_json(), options.out, with_notes=False)
    return 0


def _parser_of(command: str, text: str) -> Parser:
    """Return what reads the arguments of a command; ``text`` is its help."""
    parser = Parser(f"python -m rank_tables {command}", description=text, allow_abbrev=False)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
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


def validate(path: Path) -> int:
    """Print whether the table at a path is valid, and all that is wrong; return the exit code."""
    try:
        document = read(path)
    except RankTableError as error:
        print(error_text(error), file=sys.stderr)
        return USER_ERROR
    report = check(document)
    if report.violations:
        print(f"{document.path}: not valid, {count(len(report.violations), 'violation')}")
    else:
        table = from_document(document)
        form = ", converted from ModelArts' form" if table.converted else ""
        print(f"{document.path}: valid, {table.summary}{form}")
    for line in [*report.violations, *(f"note: {note}" for note in report.notes)]:
        print(f"  {line}")
    return FAILURE if report.violations else 0


def show(path: Path) -> None:
    """Print which NPU of which server is which rank."""
    # The only command that needs more than a Python.
    import train.program.requirements  # noqa: F401, I001  ends here, in one line, without them

    # Imported here since it takes longer than everything else together.
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    document = read(path)
    table = from_document(document)
    shown = Table()
    shown.add_column("rank", justify="right", no_wrap=True)
    shown.add_column("network" if table.version == "2.0" else "server", overflow="fold")
    shown.add_column("device", justify="right", no_wrap=True)
    shown.add_column("address", overflow="fold")
    for server in table.servers:
        for index, device in enumerate(server.devices):
            # Text, since square brackets are markup otherwise.
            name = Text(server.server_id if index == 0 else "")
            address = Text(device.device_ip or "-")
            shown.add_row(str(device.rank_id), name, str(device.device_id), address)
        shown.add_section()
    print(f"{table.source}: {table.summary}")
    Console().print(shown)
    if table.converted:
        print("converted from ModelArts' form: ranks by the numbers of the pods")
    for note in check(document).notes:
        print(f"note: {note}")


def emit(text: str, out: Path | None, with_notes: bool = True) -> None:
    """Print a valid table, or write it to a file and say so; notes go to standard error."""
    document = parse(out or Path("printed.json"), text)
    if out is None:
        print(text, end="", flush=True)
    else:
        if out.suffix != ".json":
            raise RankTableError(f"--out {out}: HCCL reads only files whose names end in .json")
        if out.is_dir():
            raise RankTableError(f"--out {out}: this is a folder, name a file in it")
        try:
            replace_file(out, text.encode())
        except OSError as error:
            raise RankTableError(f"--out {out}: cannot be written: {error.strerror}") from None
        print(f"{out}: {from_document(document).summary}", flush=True)
    for note in check(document).notes if with_notes else ():
        print(f"note: {note}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

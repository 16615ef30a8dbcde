"""What the commands print: a table, what is wrong with it, or where a made one was written."""

import sys
from pathlib import Path

from rank_tables.check import check, from_document
from rank_tables.model import RankTableError, count
from rank_tables.parse import parse, read
from train.errors import USER_ERROR, error_text
from train.files import replace_file


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
    return 1 if report.violations else 0


def show(path: Path) -> None:
    """Print which NPU of which server is which rank."""
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


def convert(path: Path, wait_seconds: float, out: Path | None) -> None:
    """Print or write the version 1.0 table that ModelArts' form stands for."""
    table = from_document(read(path, wait_seconds))
    if not table.converted:
        already = f"{table.source} is a version {table.version} table already"
        print(f"note: {already}: passed on as it is", file=sys.stderr)
    # A note would be about what ModelArts has chosen, the order of its servers for instance.
    emit(table.to_json(), out, with_notes=False)


def emit(text: str, out: Path | None, with_notes: bool = True) -> None:
    """Print a valid table, or write it to a file and say so; notes go to standard error.

    Raises:
        RankTableError: the file cannot be written, or HCCL would not read it by this name.
    """
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

"""What the commands print, and where to."""

import sys
from pathlib import Path

from rank_tables import rules
from rank_tables.load import from_document
from rank_tables.model import RankTableError, summary
from rank_tables.parse import parse
from rank_tables.text import write


def emit(text: str, out: Path | None, with_notes: bool = True) -> None:
    """Prints a valid table, or writes it to a file and says so; notes go to standard error.

    Raises:
        RankTableError: the file cannot be written, or HCCL would not read it by this name.
    """
    document = parse(out or Path("printed.json"), text)
    if out is None:
        print(text, end="", flush=True)
    else:
        _write(out, text)
        table = from_document(document)
        print(f"{out}: {summary(table.version, table.servers)}", flush=True)
    for note in rules.check(document).notes if with_notes else ():
        say(f"note: {note}")


def _write(out: Path, text: str) -> None:
    if out.suffix != ".json":
        raise RankTableError(f"--out {out}: HCCL reads only files whose names end in .json")
    if out.is_dir():
        raise RankTableError(f"--out {out}: this is a folder, name a file in it")
    try:
        write(out, text)
    except OSError as error:
        raise RankTableError(f"--out {out}: cannot be written: {error.strerror}") from None


def say(text: str) -> None:
    """Tells the user something that is not the result itself."""
    print(text, file=sys.stderr, flush=True)

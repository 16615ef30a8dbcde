"""Loads a rank table: finds the file, reads its JSON, checks it, and says what is in it.

The rules are those of HCCL's documents on rank tables (one page per product family) and, where
these are silent, of what its parser refuses.
"""

import json
import re
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rank_tables import group_list, rank_list, server_list
from rank_tables.fields import Fields, Report, Violation, kind, quoted
from rank_tables.model import Device, RankTable, RankTableError, Server, version_1

_POLL_SECONDS = 1.0
# A table of ten thousand devices takes one.
_MOST_BYTES = 16 * 2**20
_MOST_DIGITS = 20
_MODELARTS = "template 2"
_READERS = {"1.0": server_list, "1.2": server_list, "2.0": rank_list, _MODELARTS: group_list}


@dataclass(frozen=True)
class Document:
    """A file that was read: text, the same as JSON (None if it is none), and mistakes in that."""

    path: Path
    text: str
    tree: Any
    mistakes: tuple[Violation, ...]


class _Object(dict[str, Any]):
    """A JSON object that remembers which of its keys stood in it more than once."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        self.repeated = [key for key, n in Counter(key for key, _ in pairs).items() if n > 1]


def load(path: Path, wait_seconds: float = 0) -> RankTable:
    """Read and check the rank table at a path.

    Args:
        path: a file, or a folder with jobstart_hccl.json or exactly one .json file in it. What is
            in the file decides how it is read: ModelArts' form (template 2) is converted.
        wait_seconds: how long to wait for the file to appear and to be complete; looked at every
            second.

    Raises:
        RankTableError: there is no such file, or it is no valid table. The text names the file in
            its first line and has a line for every violation.
    """
    return from_document(read(path, wait_seconds))


def from_document(document: Document, error: str | None = None) -> RankTable:
    """Return the table that was read; raise RankTableError with all violations, one per line.

    ``error`` stands in their first line, which otherwise names the file.
    """
    report = check(document)
    if report.violations:
        error = error or f"{document.path}: not a valid rank table"
        raise RankTableError("\n  ".join([error, *map(str, report.violations)]))
    pairs = [(server, device) for server in report.servers for device in server.devices]
    servers: dict[str, list[Device]] = {}
    for server, found in sorted(pairs, key=lambda pair: pair[1].rank_id or 0):
        # In a valid table nothing is None.
        device = Device(found.device_id or 0, found.rank_id or 0, found.device_ip)
        servers.setdefault(server.server_id or "", []).append(device)
    in_order = tuple(Server(name, tuple(devices)) for name, devices in servers.items())
    form = _form(document.tree)
    if form == _MODELARTS:
        return RankTable("1.0", in_order, document.path, converted=True)
    return RankTable(form, in_order, document.path, converted=False, original=document.text)


def made(servers: Iterable[dict[str, Any]], what: str) -> str:
    """Return the text of a table that is made here; raise RankTableError if HCCL refuses it."""
    text = version_1(servers)
    from_document(parse(Path("table.json"), text), f"{what} would not be valid")
    return text


def read(path: Path, wait_seconds: float = 0) -> Document:
    """Read the rank table at a path, as :func:`rank_tables.load` does; its content may be wrong.

    Job managers start the containers first and fill the table in afterwards, hence the wait.

    Raises:
        RankTableError: there is no such file, or it cannot be read.
    """
    end = time.monotonic() + wait_seconds
    while True:
        left = end - time.monotonic()
        try:
            document = _read_file(path)
            # Half-written text is no JSON yet.
            started = isinstance(document.tree, dict)
            if left <= 0 or (started and document.tree.get("status") != "initializing"):
                return document
        except RankTableError:
            if left <= 0:
                raise
        time.sleep(min(_POLL_SECONDS, left))


def _find_file(path: Path) -> Path:
    if not path.is_dir():
        return path
    of_modelarts = path / "jobstart_hccl.json"
    files = [of_modelarts] if of_modelarts.exists() else sorted(path.glob("*.json"))
    if len(files) == 1:
        return files[0]
    problem = "no rank table (no file ends in .json)"
    if files:
        names = ", ".join(file.name for file in files[:4]) + (", ..." if len(files) > 4 else "")
        problem = f"{len(files)} .json files ({names}): name the one to use"
    raise RankTableError(f"{path}: this folder holds {problem}")


def _read_file(path: Path) -> Document:
    try:
        path = _find_file(path)
        if (size := path.stat().st_size) > _MOST_BYTES:
            raise RankTableError(f"{path}: {size:,} bytes are more than any rank table has")
        content = path.read_bytes()
    except FileNotFoundError:
        raise RankTableError(f"{path}: no such file") from None
    except OSError as error:
        raise RankTableError(f"{path}: cannot be read: {error.strerror}") from None
    try:
        # A byte order mark at the beginning does no harm: HCCL's JSON reader skips it as well.
        return parse(path, content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        mistake = Violation(f"byte {error.start}", "not UTF-8 text", "save the file as UTF-8")
        return Document(path, "", None, (mistake,))


def parse(path: Path, text: str) -> Document:
    """Read JSON and find what is wrong with it as such."""
    try:
        tree = json.loads(
            text,
            object_pairs_hook=_Object,
            parse_int=_short_number,
            parse_constant=_refuse_constant,
        )
        if "\\ud" in text.lower():  # Python takes half a character for a whole one, HCCL does not
            json.dumps(tree, ensure_ascii=False).encode()
        return Document(path, text, tree, tuple(_repeated_keys(tree, "")))
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        mistake = Violation(where, *_syntax_mistake(error))
    except UnicodeEncodeError:
        mistake = Violation("(top level)", "not JSON: half a surrogate pair", "correct it")
    except (ValueError, RecursionError) as error:  # NaN, endless digits, endless nesting
        reason = "nested too deeply" if isinstance(error, RecursionError) else error
        mistake = Violation("(top level)", f"not JSON: {reason}", "write plain JSON")
    return Document(path, text, None, (mistake,))


def _short_number(text: str) -> int:
    if len(text) > _MOST_DIGITS:
        raise ValueError(f"a number of {len(text):,} digits")
    return int(text)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON value")


def _syntax_mistake(error: json.JSONDecodeError) -> tuple[str, str]:
    rest = error.doc[error.pos :].lstrip()
    if not error.doc.strip():
        return "the file is empty", "generate the table again"
    if not rest:
        return "the JSON ends too early", "copy or generate the whole file again"
    if rest.startswith(("//", "/*", "#")):
        return "a comment: JSON has none, and HCCL reads none", "take it out"
    if rest[0] in "}]" and error.doc[: error.pos].rstrip().endswith(","):
        return f"a comma before the closing {rest[0]}", "take the comma out"
    return f"not JSON: {error.msg}", "correct it"


def _repeated_keys(value: Any, path: str) -> Iterator[Violation]:
    if isinstance(value, _Object):
        prefix = f"{path}." if path else ""
        for key in value.repeated:
            problem = "stands there more than once, and only the last one counts"
            yield Violation(prefix + key, problem, "keep one")
        for key, item in value.items():
            yield from _repeated_keys(item, prefix + key)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _repeated_keys(item, f"{path}[{index}]")


def check(document: Document) -> Report:
    """Find everything that is wrong with a rank table."""
    report = Report(list(document.mistakes))
    _check_name(report, document.path)
    if isinstance(document.tree, dict):
        root = Fields(report, document.tree)
        form = _form(document.tree)
        _check_status(root, required=form != "2.0")
        report.servers = _READERS[form].read(root)
    elif not document.mistakes:
        report.add("(top level)", f"{kind(document.tree)} where an object belongs", "write { ... }")
    report.violations.sort(key=_position)
    return report


def _form(tree: dict[str, Any]) -> str:
    """Return which kind of table this is: "1.0", "1.2", "2.0", or "template 2" (ModelArts).

    The content decides, not the file name: ModelArts uses one name for several kinds. HCCL, too,
    goes by ``version``, and takes a table without one for template 2.
    """
    if "version" not in tree and "group_list" in tree:
        return _MODELARTS
    version = tree.get("version")
    return version if version in server_list.VERSIONS else "1.0"


def _position(violation: Violation) -> tuple[bool, list[tuple[int, str]]]:
    """Sort as one reads a table: first the fields at the top, then server by server."""
    parts = re.findall(r"[0-9]+|[^0-9]+", violation.path)
    natural = [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]
    return "[" in violation.path, natural


def _check_name(report: Report, path: Path) -> None:
    name, text = path.name, str(path)
    if not name.endswith(".json") or name == ".json":
        report.add("file name", f"{quoted(name)}, but HCCL reads only *.json", "rename the file")
    elif text.find(".json") != len(text) - len(".json"):
        # It compares the first ".json" in the path with the end of the path.
        report.notes.append(
            f'"{text}" has ".json" in more than one place: some versions of HCCL refuse such a path'
        )


def _check_status(root: Fields, required: bool) -> None:
    status = root.text("status", 'write "completed"', required)
    if status == "initializing":
        problem = '"initializing": the job manager has not filled in the table yet'
        root.wrong("status", problem, "wait: convert --wait SECONDS")
    elif status is not None and status != "completed":
        root.wrong("status", f"{quoted(status)} is no known status", 'write "completed"')

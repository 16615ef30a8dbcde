"""A rank table as a whole: which form it has, whether it keeps all rules, and what it says.

The rules are those of HCCL's documents on rank tables (one page per product family) and, where
these are silent, of what its parser refuses.
"""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rank_tables import group_list, rank_list, server_list
from rank_tables.fields import Fields, Report, ServerEntry, Violation, kind, quoted
from rank_tables.model import Device, RankTable, RankTableError, Server, version_1
from rank_tables.parse import Document, parse, read

MODELARTS = "template 2"

_READERS = {"1.0": server_list, "1.2": server_list, "2.0": rank_list, MODELARTS: group_list}


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


def from_document(document: Document) -> RankTable:
    """Return the table that was read; raise RankTableError with all violations."""
    servers = _servers(require_valid(document))
    form = form_of(document)
    if form == MODELARTS:
        return RankTable("1.0", servers, document.path, converted=True)
    return RankTable(form, servers, document.path, converted=False, original=document.text)


def _servers(entries: Iterable[ServerEntry]) -> tuple[Server, ...]:
    """Return the servers of a valid table, in which nothing is None, by their lowest rank."""
    pairs = [(entry, device) for entry in entries for device in entry.devices]
    servers: dict[str, list[Device]] = {}
    for entry, found in sorted(pairs, key=lambda pair: pair[1].rank_id or 0):
        device = Device(found.device_id or 0, found.rank_id or 0, found.device_ip)
        servers.setdefault(entry.server_id or "", []).append(device)
    return tuple(Server(server_id, tuple(devices)) for server_id, devices in servers.items())


def made(servers: Iterable[dict[str, Any]], what: str) -> str:
    """Return the text of a table that is made here; raise RankTableError if HCCL refuses it."""
    text = version_1(servers)
    require_valid(parse(Path("table.json"), text), f"{what} would not be valid")
    return text


def require_valid(document: Document, error: str | None = None) -> list[ServerEntry]:
    """Return the servers of a table; raise RankTableError with all violations, one per line."""
    report = check(document)
    if report.violations:
        error = error or f"{document.path}: not a valid rank table"
        raise RankTableError("\n  ".join([error, *map(str, report.violations)]))
    return report.servers


def check(document: Document) -> Report:
    """Find everything that is wrong with a rank table."""
    report = Report(list(document.mistakes))
    _check_name(report, document.path)
    if isinstance(document.tree, dict):
        root = Fields(report, document.tree)
        form = form_of(document)
        _check_status(root, required=form != "2.0")
        report.servers = _READERS[form].read(root)
    elif not document.mistakes:
        report.add("(top level)", f"{kind(document.tree)} where an object belongs", "write { ... }")
    report.violations.sort(key=_position)
    return report


def form_of(document: Document) -> str:
    """Return which kind of table this is: "1.0", "1.2", "2.0", or "template 2" (ModelArts).

    The content decides, not the file name: ModelArts uses one name for several kinds. HCCL, too,
    goes by ``version``, and takes a table without one for template 2.
    """
    tree = document.tree if isinstance(document.tree, dict) else {}
    if "version" not in tree and "group_list" in tree:
        return MODELARTS
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

"""Checks a rank table: all rules at once, for every template.

The rules are those of HCCL's documents on rank tables (one page per product family) and, where
these are silent, of what its parser refuses.
"""

import re
from pathlib import Path

from rank_tables import group_list, rank_list, server_list
from rank_tables.fields import Fields, kind, quoted
from rank_tables.model import RankTableError
from rank_tables.parse import Document, parse
from rank_tables.report import Report, Violation

MODELARTS = "template 2"
VERSIONS = ("1.0", "1.2", "2.0")


def template(document: Document) -> str:
    """Returns which kind of table this is: "1.0", "1.2", "2.0", or "template 2" (ModelArts).

    The content decides, not the file name: ModelArts uses one name for several kinds. HCCL, too,
    goes by ``version``, and takes a table without one for template 2.
    """
    tree = document.tree if isinstance(document.tree, dict) else {}
    if "version" not in tree and "group_list" in tree:
        return MODELARTS
    version = tree.get("version")
    return version if version in VERSIONS else "1.0"


def check(document: Document) -> Report:
    """Finds everything that is wrong with a rank table."""
    report = Report(list(document.mistakes))
    _check_name(report, document)
    if isinstance(document.tree, dict):
        root = Fields(report, document.tree, "")
        kind_of_table = template(document)
        if kind_of_table == MODELARTS:
            _check_status(root)
            group_list.check(root)
        elif kind_of_table == "2.0":
            _check_status(root, required=False)
            rank_list.check(root)
        else:
            _check_status(root)
            _check_version(root)
            server_list.check(root, kind_of_table)
    elif not document.mistakes:
        report.add("", f"{kind(document.tree)} where an object belongs", "write { ... }")
    report.violations.sort(key=_position)
    return report


def _position(violation: Violation) -> tuple[bool, list[tuple[int, str]]]:
    """Sorts as one reads a table: first the fields at the top, then server by server."""
    parts = re.findall(r"[0-9]+|[^0-9]+", violation.path)
    natural = [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]
    return "[" in violation.path, natural


def require_valid(document: Document) -> Report:
    """Checks a rank table and returns the report, which has no violations.

    Raises:
        RankTableError: with all violations, one per line.
    """
    report = check(document)
    if report.violations:
        lines = [f"{document.path}: not a valid rank table"]
        raise RankTableError("\n  ".join(lines + [str(found) for found in report.violations]))
    return report


def require_valid_text(text: str, what: str) -> None:
    """Checks a table that was made here.

    Raises:
        RankTableError: HCCL would not take it, what was asked for being no table.
    """
    found = check(parse(Path("table.json"), text)).violations
    if found:
        raise RankTableError("\n  ".join([f"{what} would not be valid", *map(str, found)]))


def _check_name(report: Report, document: Document) -> None:
    path = str(document.path)
    name = document.path.name
    if not name.endswith(".json") or name == ".json":
        report.add("file name", f"{quoted(name)}, but HCCL reads only *.json", "rename the file")
    elif path.find(".json") != len(path) - len(".json"):
        # It compares the first ".json" in the path with the end of the path.
        report.note(
            f'"{path}" has ".json" in more than one place: some versions of HCCL refuse such a path'
        )


def _check_status(root: Fields, required: bool = True) -> None:
    status = root.text("status", 'write "completed"', required)
    if status == "initializing":
        problem = "the job manager has not filled in the table yet"
        root.report.add("status", f'"initializing": {problem}', "wait: convert --wait SECONDS")
    elif status is not None and status != "completed":
        root.report.add("status", f"{quoted(status)} is no known status", 'write "completed"')


def _check_version(root: Fields) -> None:
    remedy = 'write "1.0", or "1.2" with super pods'
    if not root.has("version"):
        problem = "missing, so HCCL would take this for a template 2 table"
        root.report.add("version", problem, remedy)
        return
    version = root.text("version", remedy)
    if version is not None and version not in VERSIONS:
        allowed = ", ".join(VERSIONS)
        problem = f"{quoted(version)} is not a version HCCL knows ({allowed})"
        root.report.add("version", problem, remedy)

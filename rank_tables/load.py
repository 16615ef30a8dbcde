"""Reads a rank table for use."""

from pathlib import Path

from rank_tables import build, rules
from rank_tables.model import RankTable
from rank_tables.parse import Document, read


def load(path: Path, wait_seconds: float = 0) -> RankTable:
    """Reads and checks the rank table at a path.

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
    """Checks what was read, and makes a table of it.

    Raises:
        RankTableError: with all violations.
    """
    rules.require_valid(document)
    template = rules.template(document)
    if template == rules.MODELARTS:
        servers = build.from_group_list(document.tree)
        return RankTable("1.0", servers, document.path, converted=True)
    read_servers = build.from_rank_list if template == "2.0" else build.from_server_list
    servers = read_servers(document.tree)
    return RankTable(template, servers, document.path, converted=False, original=document.text)

"""Joins the tables of single servers into that of a job."""

import argparse
import ipaddress
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rank_tables import rules
from rank_tables.console import emit
from rank_tables.model import RankTableError
from rank_tables.parse import Document, read
from rank_tables.text import to_text, version_1_tree

DESCRIPTION = """\
Joins version 1.0 tables, given in any order, into one: the servers sorted by server_id, the ranks
numbered anew. Give the same file to every server.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of the command."""
    parser.add_argument("files", metavar="FILE", nargs="+", type=Path, help="tables to join")
    parser.add_argument("--out", metavar="FILE.json", type=Path, help="file (default: printed)")


def run(arguments: argparse.Namespace) -> int:
    """Runs the command."""
    emit(merge([read(path) for path in arguments.files]), arguments.out)
    return 0


def merge(documents: Sequence[Document]) -> str:
    """Joins tables and returns the text of the whole.

    The servers are sorted by server_id as text, the order MindSpore's documents ask for, so that
    the order of the arguments, often that of a ``*``, does not matter. Within a server the order of
    the ranks stays. Further fields of servers and devices are kept.

    Raises:
        RankTableError: one is not a valid table of version 1.0, or two name the same server or
            address, or have addresses of different families.
    """
    for document in documents:
        _require_mergeable(document)
    _refuse_repeated(documents)
    servers = [server for document in documents for server in document.tree["server_list"]]
    rank = 0
    merged = []
    for server in sorted(servers, key=lambda server: str(server["server_id"])):
        devices = []
        for device in sorted(server["device"], key=lambda device: int(device["rank_id"])):
            devices.append({**device, "rank_id": str(rank)})
            rank += 1
        merged.append({**server, "device": devices})
    text = to_text(version_1_tree(merged))
    rules.require_valid_text(text, "the merged table")
    return text


def _require_mergeable(document: Document) -> None:
    rules.require_valid(document)
    template = rules.template(document)
    if template == rules.MODELARTS:
        raise RankTableError(f"{document.path}: this is ModelArts' form: convert it first")
    if template != "1.0":
        raise RankTableError(
            f"{document.path}: version {template}, but only version 1.0 can be merged"
        )


def _refuse_repeated(documents: Sequence[Document]) -> None:
    servers: dict[str, Path] = {}
    addresses: dict[object, tuple[str, Path]] = {}
    family: tuple[int, Path] | None = None
    for document in documents:
        path = document.path
        for server in document.tree["server_list"]:
            name = server["server_id"]
            if name in servers:
                raise RankTableError(
                    f"{path}: server {name} again, as in {servers[name]}: give each server's table "
                    "once, and different servers different names (generate --server-id NAME)"
                )
            servers[name] = path
            for address in _addresses(server):
                owner, where = addresses.setdefault(address, (name, path))
                if owner != name:
                    raise RankTableError(
                        f"{path}: device_ip {address} of server {name} is in {where} too, as an "
                        f"address of server {owner}: no two NPUs may have the same"
                    )
                family = family or (address.version, path)
                if address.version != family[0]:
                    raise RankTableError(
                        f"{path}: IPv{address.version} addresses, but those in {family[1]} are "
                        f"IPv{family[0]}: generate all tables with the same family (--ipv6)"
                    )


def _addresses(server: dict[str, Any]) -> Iterator[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    for device in server["device"]:
        for text in filter(None, device.get("device_ip", "").split(",")):
            yield ipaddress.ip_address(text)

"""Joins the tables of single servers into that of a job."""

import ipaddress
import itertools
from collections.abc import Sequence
from pathlib import Path

from rank_tables.load import Document, from_document, made
from rank_tables.model import RankTableError


def merge(documents: Sequence[Document]) -> str:
    """Join tables and return the text of the whole.

    The servers are sorted by server_id as text, the order MindSpore's documents ask for, so that
    the order of the arguments, often that of a ``*``, does not matter. Within a server the order of
    the ranks stays. Further fields of servers and devices are kept.

    Raises:
        RankTableError: one is not a valid table of version 1.0, or two name the same server or
            address, or have addresses of different families.
    """
    for document in documents:
        table = from_document(document)
        if table.converted:
            raise RankTableError(f"{table.source}: this is ModelArts' form: convert it first")
        if table.version != "1.0":
            version = f"version {table.version}"
            raise RankTableError(f"{table.source}: {version}, but only version 1.0 can be merged")
    _refuse_repeated(documents)
    servers = [server for document in documents for server in document.tree["server_list"]]
    ranks = itertools.count()
    merged = []
    for server in sorted(servers, key=lambda server: str(server["server_id"])):
        devices = sorted(server["device"], key=lambda device: int(device["rank_id"]))
        renumbered = [{**device, "rank_id": str(next(ranks))} for device in devices]
        merged.append({**server, "device": renumbered})
    return made(merged, "the merged table")


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
            texts = [ip for d in server["device"] for ip in d.get("device_ip", "").split(",")]
            for address in map(ipaddress.ip_address, filter(None, texts)):
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

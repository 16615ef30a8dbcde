"""Rules of version 2.0: a list of ranks. Only the part that a launcher relies on is checked."""

from __future__ import annotations

from rank_tables.fields import Fields
from rank_tables.places import Machine, Place, check_ranks

_MAX_RANKS = 65536
_MAX_DEVICE = 64
_MAX_LEVELS = 8


def check(root: Fields) -> None:
    """Checks the ranks, their devices, and that each is connected to something."""
    actual = root.length("rank_list")
    count = root.integer("rank_count", 1, _MAX_RANKS)
    if count is not None and actual and count != actual:
        root.report.add("rank_count", f"{count}, but rank_list has {actual}", f"write {actual}")
    all_ranks = Machine("rank_list", None, [_read(rank) for rank in _ranks(root)])
    all_ranks.whole = actual == len(all_ranks.places)
    check_ranks(root.report, [all_ranks])


def _ranks(root: Fields) -> list[Fields]:
    return list(root.children("rank_list", "ranks"))


def _read(rank: Fields) -> Place:
    rank.integer("local_id", 0, _MAX_DEVICE)
    device_id = rank.integer("device_id", 0, _MAX_DEVICE)
    for key in ("device_port", "host_port"):
        rank.integer(key, 1, 65535, required=False)
    for level in rank.children("level_list", "network levels"):
        level.text("net_instance_id", "write the name of the network, such as its pod or rack")
        for address in level.children("rank_addr_list", "addresses"):
            address.text("addr_type", "write EID, IPv4 or IPv6")
            address.text("addr", "write the address")
    if rank.length("level_list") > _MAX_LEVELS:
        problem = f"{rank.length('level_list')} levels, and HCCL takes {_MAX_LEVELS} at most"
        rank.report.add(rank.at("level_list"), problem, "leave out the others")
    return Place(rank.path, device_id, None, rank.integer("rank_id", 0, _MAX_RANKS - 1))

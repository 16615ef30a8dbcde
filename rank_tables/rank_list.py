"""Version 2.0: a list of ranks. Only the part that a launcher relies on is checked."""

from rank_tables.fields import DeviceEntry, Fields, ServerEntry
from rank_tables.rules import check_ranks

_MAX_RANKS = 65536
_MAX_DEVICE = 64
_MAX_LEVELS = 8


def read(root: Fields) -> list[ServerEntry]:
    """Check and return the ranks, with their devices and what each is connected to.

    There are no servers: ranks with the same instance of the lowest network level (the connections
    inside a server) are taken for one. A device without an IP address there (EID) gets none.
    """
    actual = root.length("rank_list")
    count = root.integer("rank_count", 1, _MAX_RANKS)
    if count is not None and actual and count != actual:
        root.wrong("rank_count", f"{count}, but rank_list has {actual}", f"write {actual}")
    ranks = [_read_rank(rank) for rank in root.children("rank_list", "ranks")]
    if len(ranks) == actual:
        check_ranks(root.report, ranks)
    return ranks


def _read_rank(rank: Fields) -> ServerEntry:
    rank.integer("local_id", 0, _MAX_DEVICE)
    for key in ("device_port", "host_port"):
        rank.integer(key, 1, 65535, required=False)
    device_id = rank.integer("device_id", 0, _MAX_DEVICE)
    rank_id = rank.integer("rank_id", 0, _MAX_RANKS - 1)
    levels = [_read_level(level) for level in rank.children("level_list", "network levels")]
    if rank.length("level_list") > _MAX_LEVELS:
        problem = f"{rank.length('level_list')} levels, and HCCL takes {_MAX_LEVELS} at most"
        rank.wrong("level_list", problem, "leave out the others")
    network, address = levels[0] if levels else (None, None)
    return ServerEntry(rank.path, network, [DeviceEntry(rank.path, device_id, rank_id, address)])


def _read_level(level: Fields) -> tuple[str | None, str | None]:
    """Return the name of a network, and the IP address, if it has one, of a rank in it."""
    name = level.text("net_instance_id", "write the name of the network, such as its pod or rack")
    ips = []
    for address in level.children("rank_addr_list", "addresses"):
        kind = address.text("addr_type", "write EID, IPv4 or IPv6") or ""
        text = address.text("addr", "write the address")
        ips.append(text if kind.upper().startswith("IP") else None)
    return name, ips[0] if ips else None

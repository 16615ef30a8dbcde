"""What a rank table says."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rank_tables.text import to_text, version_1_tree


class RankTableError(Exception):
    """A rank table cannot be read or made.

    The text names the file or option in its first line; each further line is a violation.
    """


@dataclass(frozen=True)
class Device:
    """One NPU, and the rank that runs on it.

    Attributes:
        device_id: its *physical* number on the server: N of ``/dev/davinciN``. It is no index: in a
            container, or with ``ASCEND_RT_VISIBLE_DEVICES``, a process counts differently.
        rank_id: the rank.
        device_ip: the address of the NPU's own network port (several: with commas between them),
            None where the table has none.
    """

    device_id: int
    rank_id: int
    device_ip: str | None


@dataclass(frozen=True)
class Server:
    """One server with the devices that take part, in rank order."""

    server_id: str
    devices: tuple[Device, ...]


@dataclass(frozen=True)
class RankTable:
    """A rank table that has passed every check.

    Attributes:
        version: "1.0", "1.2" or "2.0".
        servers: the servers, by their lowest rank.
        source: the file it was read from.
        converted: it was ModelArts' form (template 2). Then HCCL must be given :meth:`to_json` as a
            file of its own, otherwise ``source`` itself serves.
        original: the text of ``source`` unless it was converted.
    """

    version: str
    servers: tuple[Server, ...]
    source: Path
    converted: bool
    original: str | None = field(default=None, repr=False, compare=False)

    @property
    def devices(self) -> tuple[Device, ...]:
        """All devices in rank order."""
        devices = [device for server in self.servers for device in server.devices]
        return tuple(sorted(devices, key=lambda device: device.rank_id))

    def to_json(self) -> str:
        """Returns the table as text that HCCL reads.

        That is version 1.0, but for tables which were 1.2 or 2.0 from the start. What was not
        converted is given back as it was, with the fields that this class does not hold.
        """
        if self.original is not None:
            return self.original
        return to_text(version_1_tree([_server_tree(server) for server in self.servers]))


def _server_tree(server: Server) -> dict[str, object]:
    return {"server_id": server.server_id, "device": [_device_tree(d) for d in server.devices]}


def _device_tree(device: Device) -> dict[str, str]:
    tree = {"device_id": str(device.device_id)}
    if device.device_ip is not None:
        tree["device_ip"] = device.device_ip
    return {**tree, "rank_id": str(device.rank_id)}


def count(number: int, thing: str) -> str:
    """Returns "1 server", "2 servers"."""
    return f"{number} {thing}{'' if number == 1 else 's'}"


def summary(version: str, servers: Sequence[Server]) -> str:
    """Returns the size of a table in a few words."""
    ranks = sum(len(server.devices) for server in servers)
    return f"version {version}, {count(len(servers), 'server')}, {count(ranks, 'rank')}"

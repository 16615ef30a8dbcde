"""What a rank table says, and how it is written."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from train.errors import UserError


class RankTableError(UserError):
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

    def tree(self) -> dict[str, str]:
        """Return the device as version 1.0 has it."""
        address = {} if self.device_ip is None else {"device_ip": self.device_ip}
        return {"device_id": str(self.device_id), **address, "rank_id": str(self.rank_id)}


@dataclass(frozen=True)
class Server:
    """One server with the devices that take part, in rank order."""

    server_id: str
    devices: tuple[Device, ...]

    def tree(self) -> dict[str, Any]:
        """Return the server as version 1.0 has it."""
        return {"server_id": self.server_id, "device": [device.tree() for device in self.devices]}


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

    @property
    def summary(self) -> str:
        """Version and size in a few words."""
        servers, ranks = len(self.servers), len(self.devices)
        return f"version {self.version}, {count(servers, 'server')}, {count(ranks, 'rank')}"

    def to_json(self) -> str:
        """Return the table as text that HCCL reads.

        That is version 1.0, but for tables which were 1.2 or 2.0 from the start. What was not
        converted is given back as it was, with the fields that this class does not hold.
        """
        if self.original is not None:
            return self.original
        return version_1(server.tree() for server in self.servers)


def version_1(servers: Iterable[dict[str, Any]]) -> str:
    """Return the text of a version 1.0 table: a device per line, as one would write it by hand."""
    listed = list(servers)
    tree = {"version": "1.0", "server_count": str(len(listed)), "server_list": listed}
    return _lines({**tree, "status": "completed"}, "") + "\n"


def _lines(value: Any, indent: str) -> str:
    inner = indent + "  "
    items = []
    if isinstance(value, list):
        items = [_lines(item, inner) for item in value]
    elif isinstance(value, dict) and any(isinstance(item, list | dict) for item in value.values()):
        items = [f"{json.dumps(key)}: {_lines(item, inner)}" for key, item in value.items()]
    if not items:
        return json.dumps(value)
    start, end = "[]" if isinstance(value, list) else "{}"
    body = ",\n".join(inner + item for item in items)
    return f"{start}\n{body}\n{indent}{end}"


def count(number: int, thing: str) -> str:
    """Return "1 server", "2 servers"."""
    return f"{number} {thing}{'' if number == 1 else 's'}"

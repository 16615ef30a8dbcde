"""Builds servers and devices from the tree of a table that has passed the checks."""

from collections.abc import Iterable
from typing import Any

from rank_tables.group_list import pod_number
from rank_tables.model import Device, Server


def from_server_list(tree: dict[str, Any]) -> tuple[Server, ...]:
    """Reads versions 1.0 and 1.2."""
    servers = []
    for server in tree["server_list"]:
        devices = [
            Device(int(d["device_id"]), int(d["rank_id"]), d.get("device_ip") or None)
            for d in server["device"]
        ]
        servers.append(_server(server["server_id"], devices))
    return _by_rank(servers)


def from_group_list(tree: dict[str, Any]) -> tuple[Server, ...]:
    """Reads template 2, which has no ranks, and numbers them.

    The ranks follow the pods by the *number* at the end of their names (pod-10 after pod-2), as
    ModelArts' own launcher numbers them: that way the pod with index i, which ModelArts tells
    every container, holds the ranks of node i, whatever the addresses are. MindSpore's documents
    ask instead for the order of server_id as text, which is what HCCL makes of an unconverted
    template 2. Both work, as HCCL goes by rank_id, but only the first agrees with the node numbers
    that the job manager hands out, and with logs and restarts that go by them.
    """
    devices: dict[str, list[Device]] = {}
    rank = 0
    for group in tree["group_list"]:
        if group["device_count"] == "0":
            continue
        for pod in sorted(group["instance_list"], key=lambda pod: pod_number(pod["pod_name"]) or 0):
            for device in pod["devices"]:
                of_server = devices.setdefault(pod["server_id"], [])
                of_server.append(Device(int(device["device_id"]), rank, device["device_ip"]))
                rank += 1
    return tuple(_server(server_id, found) for server_id, found in devices.items())


def from_rank_list(tree: dict[str, Any]) -> tuple[Server, ...]:
    """Reads version 2.0, as far as it tells.

    It has no servers: ranks with the same instance of the lowest network level (the connections
    inside a server) are taken for one. A device without an IP address there (EID) gets none.
    """
    servers: dict[str, list[Device]] = {}
    for rank in tree["rank_list"]:
        level = rank["level_list"][0]
        address = level["rank_addr_list"][0]
        ip = address["addr"] if address["addr_type"].upper().startswith("IP") else None
        device = Device(rank["device_id"], rank["rank_id"], ip)
        servers.setdefault(level["net_instance_id"], []).append(device)
    return _by_rank(_server(name, devices) for name, devices in servers.items())


def _server(server_id: str, devices: list[Device]) -> Server:
    return Server(server_id, tuple(sorted(devices, key=lambda device: device.rank_id)))


def _by_rank(servers: Iterable[Server]) -> tuple[Server, ...]:
    return tuple(sorted(servers, key=lambda server: server.devices[0].rank_id))

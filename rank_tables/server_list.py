"""Rules of versions 1.0 and 1.2: servers with their devices."""

from __future__ import annotations

import difflib

from rank_tables.fields import Address, Fields, quoted
from rank_tables.places import (
    Machine,
    Place,
    address_remedy,
    check_addresses,
    check_devices,
    check_ranks,
    note_surprises,
)

# HCCL's limit. It counts bytes.
MAX_SERVER_ID = 64

SERVER_ID_REMEDY = "write a name or address that no other server has"
DEVICE_ID_REMEDY = "write the N of its /dev/davinciN, as a string"

# The fields that HCCL or MindSpore read. Anything else is most likely a slip of the pen.
_TOP = {"version", "status", "server_count", "server_list", "super_pod_list", "cluster_list"}
_SERVER = {"server_id", "device", "host_ip", "host_nic_ip", "server_ip"}
_OPTIONAL_TEXTS = ("super_device_id", "net_position", "net_protocol", "dpu_ip", "numa_id", "pod_ip")
_PORTS = ("device_port", "host_port", "backup_device_port", "device_vnic_port")
_DEVICE = {"device_id", "device_ip", "rank_id", "backup_device_ip", *_OPTIONAL_TEXTS, *_PORTS}


def check(root: Fields, version: str) -> None:
    """Checks the part of a table that names servers, devices and ranks."""
    _note_unknown(root, _TOP)
    servers = list(root.children("server_list", "servers"))
    _check_count(root, version)
    # Within one super pod (1.2), and on a single server, the NPUs do without their ports.
    needs_address = version == "1.0" and len(servers) > 1
    machines = [_read_server(server, needs_address) for server in servers]
    _check_server_ids(root, machines)
    if version == "1.0":
        _check_some_addresses(root, machines)
    for machine in machines:
        check_devices(root.report, machine)
    check_addresses(root.report, [place for machine in machines for place in machine.places])
    check_ranks(root.report, machines)
    _check_device_ports(root, servers)
    if not root.report.violations:
        note_surprises(root.report, machines)


def _check_count(root: Fields, version: str) -> None:
    actual = root.length("server_list")
    remedy = f'write "{actual}"' if actual else "write the number of servers, as a string"
    count = root.decimal("server_count", remedy, required=version == "1.0")
    if count is not None and actual and count != actual:
        has = "1 entry" if actual == 1 else f"{actual} entries"
        root.report.add("server_count", f"{count}, but server_list has {has}", remedy)


def _read_server(server: Fields, needs_address: bool) -> Machine:
    _note_unknown(server, _SERVER)
    machine = Machine(server.path, read_server_id(server))
    server.addresses("host_ip", "write the address of the server, or leave it out", required=False)
    for key in ("host_nic_ip", "server_ip"):
        server.text(key, "write a string, or leave it out", required=False)
    for device in server.children("device", "devices"):
        machine.places.append(_read_device(device, needs_address))
    machine.whole = server.length("device") == len(machine.places) > 0
    return machine


def _read_device(device: Fields, needs_address: bool) -> Place:
    _note_unknown(device, _DEVICE)
    for key in _OPTIONAL_TEXTS:
        device.text(key, "write a string, or leave it out", required=False)
    for key in _PORTS:
        device.port(key)
    backup = "write the address of the port that stands in, or leave it out"
    device.addresses("backup_device_ip", backup, required=False)
    device_id, addresses = read_device(device, needs_address)
    rank = device.decimal("rank_id", 'write its rank, as a string: "0", "1", ...')
    return Place(device.path, device_id, addresses, rank)


def read_server_id(server: Fields) -> str | None:
    """Returns the name of a server, which template 2 has in the same form."""
    server_id = server.text("server_id", SERVER_ID_REMEDY)
    if server_id is not None and len(server_id.encode()) > MAX_SERVER_ID:
        problem = f"{len(server_id.encode())} bytes, and HCCL takes {MAX_SERVER_ID} at most"
        server.report.add(server.at("server_id"), problem, "shorten it")
        return None
    return server_id


def read_device(
    device: Fields, needs_address: bool = True
) -> tuple[int | None, list[Address] | None]:
    """Returns number and addresses of a device, which template 2 has in the same form."""
    device_id = device.decimal("device_id", DEVICE_ID_REMEDY)
    addresses = device.addresses("device_ip", address_remedy(device_id), needs_address)
    return device_id, addresses


def _check_server_ids(root: Fields, machines: list[Machine]) -> None:
    first: dict[str, Machine] = {}
    for machine in machines:
        if machine.server_id is None:
            continue
        other = first.setdefault(machine.server_id, machine)
        if other is not machine:
            problem = f"{quoted(machine.server_id)} again, as in {other.path}"
            remedy = "write every server once, with all its devices"
            root.report.add(f"{machine.path}.server_id", problem, remedy)


def _check_some_addresses(root: Fields, machines: list[Machine]) -> None:
    """A table of one server may do without addresses, but not without some of them."""
    places = [place for machine in machines for place in machine.places]
    without = [place for place in places if place.addresses == []]
    if without and len(without) == len(places):
        root.report.note(
            "no device_ip: enough for one Atlas A2 or A3 server, not for Atlas 910 (A)"
        )
        return
    for place in without:
        problem = "missing, while other devices have one"
        root.report.add(f"{place.path}.device_ip", problem, address_remedy(place.device_id))


def _check_device_ports(root: Fields, servers: list[Fields]) -> None:
    """HCCL uses the ports only if the device that it reads last has one."""
    lists = [server.value.get("device") for server in servers]
    devices = [d for items in lists if isinstance(items, list) for d in items]
    has_port = {"device_port" in device for device in devices if isinstance(device, dict)}
    if len(has_port) > 1:
        root.report.note("only some devices have a device_port: give one to all of them, or none")


def _note_unknown(fields: Fields, known: set[str]) -> None:
    for key in fields.value:
        if key not in known:
            close = difflib.get_close_matches(key, known, 1)
            meant = f" (did you mean {close[0]}?)" if close else ""
            fields.report.note(f"{fields.at(key)}: HCCL does not know this field{meant}")

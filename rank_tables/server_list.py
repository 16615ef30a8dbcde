"""Versions 1.0 and 1.2: servers with their devices."""

import difflib
from collections.abc import Sequence

from rank_tables import rules
from rank_tables.fields import DeviceEntry, Fields, ServerEntry, quoted

VERSIONS = ("1.0", "1.2", "2.0")

# HCCL's limit. It counts bytes.
_MAX_SERVER_ID = 64

# The fields that HCCL or MindSpore read. Anything else is most likely a slip of the pen.
_TOP = {"version", "status", "server_count", "server_list", "super_pod_list", "cluster_list"}
_SERVER = {"server_id", "device", "host_ip", "host_nic_ip", "server_ip"}
_OPTIONAL_TEXTS = ("super_device_id", "net_position", "net_protocol", "dpu_ip", "numa_id", "pod_ip")
_PORTS = ("device_port", "host_port", "backup_device_port", "device_vnic_port")
_DEVICE = {"device_id", "device_ip", "rank_id", "backup_device_ip", *_OPTIONAL_TEXTS, *_PORTS}


def read(root: Fields) -> list[ServerEntry]:
    """Check and return the servers with their devices and ranks."""
    _note_unknown(root, _TOP)
    _check_version(root)
    super_pods = root.value.get("version") == "1.2"
    listed = root.children("server_list", "servers")
    actual = root.length("server_list")
    has = f"server_list has {'1 entry' if actual == 1 else f'{actual} entries'}"
    root.count("server_count", actual, has, of=" of servers", required=not super_pods)
    # Within one super pod, and on a single server, the NPUs do without their ports.
    needs_address = not super_pods and len(listed) > 1
    servers = [_read_server(server, needs_address) for server in listed]
    for server, other in rules.repeated((server.server_id, server) for server in servers):
        problem = f"{quoted(server.server_id or '')} again, as in {other.path}"
        remedy = "write every server once, with all its devices"
        root.report.add(f"{server.path}.server_id", problem, remedy)
        server.server_id = None  # or its devices would count as those of the other
    if not super_pods:
        _check_some_addresses(root, servers)
    rules.check_devices(root.report, servers)
    rules.check_addresses(root.report, servers)
    rules.check_ranks(root.report, servers)
    _check_device_ports(root, listed)
    if not root.report.violations:
        rules.note_surprises(root.report, servers)
    return servers


def _check_version(root: Fields) -> None:
    remedy = 'write "1.0", or "1.2" with super pods'
    if "version" not in root.value:
        problem = "missing, so HCCL would take this for a template 2 table"
        root.wrong("version", problem, remedy)
    elif (version := root.text("version", remedy)) is not None and version not in VERSIONS:
        problem = f"{quoted(version)} is not a version HCCL knows ({', '.join(VERSIONS)})"
        root.wrong("version", problem, remedy)


def _read_server(server: Fields, needs_address: bool) -> ServerEntry:
    _note_unknown(server, _SERVER)
    server.addresses("host_ip", "write the address of the server, or leave it out", required=False)
    server.optional_texts("host_nic_ip", "server_ip")
    devices = server.children("device", "devices")
    for device in devices:
        _note_unknown(device, _DEVICE)
        device.optional_texts(*_OPTIONAL_TEXTS)
        for key in _PORTS:
            remedy = "write a free port from 1024 to 65535, as a string"
            port = device.decimal(key, remedy, required=False)
            if port is not None and not 1 <= port <= 65535:
                device.wrong(key, f"{port} is not a port number", remedy)
        backup = "write the address of the port that stands in, or leave it out"
        device.addresses("backup_device_ip", backup, required=False)
    return read_server(server, "device", devices, needs_address, rank=True)


def read_server(
    server: Fields, key: str, devices: Sequence[Fields], address: bool = True, rank: bool = False
) -> ServerEntry:
    """Return a server, whose field ``key`` lists the devices; template 2 has it in the same form.

    ``address`` and ``rank`` tell whether a device must have one.
    """
    server_id = server.text("server_id", "write a name or address that no other server has")
    size = len((server_id or "").encode())
    if size > _MAX_SERVER_ID:
        problem = f"{size} bytes, and HCCL takes {_MAX_SERVER_ID} at most"
        server.wrong("server_id", problem, "shorten it")
        server_id = None
    entry = ServerEntry(server.path, server_id, [], server.length(key) == len(devices) > 0)
    for device in devices:
        number = device.decimal("device_id", "write the N of its /dev/davinciN, as a string")
        remedy = 'write its rank, as a string: "0", "1", ...'
        rank_id = device.decimal("rank_id", remedy) if rank else None
        addresses = device.addresses("device_ip", rules.address_remedy(number), address)
        device_ip = device.value.get("device_ip") or None
        entry.devices.append(DeviceEntry(device.path, number, rank_id, device_ip, addresses))
    return entry


def _check_some_addresses(root: Fields, servers: Sequence[ServerEntry]) -> None:
    """Check that a table of one server, which may do without addresses, has all of them or none."""
    devices = rules.devices_of(servers)
    without = [device for device in devices if device.addresses == []]
    if devices and without == devices:
        note = "no device_ip: enough for one Atlas A2 or A3 server, not for Atlas 910 (A)"
        root.report.notes.append(note)
        without = []
    for device in without:
        remedy = rules.address_remedy(device.device_id)
        problem = "missing, while other devices have one"
        root.report.add(f"{device.path}.device_ip", problem, remedy)


def _check_device_ports(root: Fields, servers: Sequence[Fields]) -> None:
    """Note it where HCCL, which goes by the device it reads last, would use some of the ports."""
    lists = [server.value.get("device") for server in servers]
    devices = [d for items in lists if isinstance(items, list) for d in items]
    if len({"device_port" in device for device in devices if isinstance(device, dict)}) > 1:
        note = "only some devices have a device_port: give one to all of them, or none"
        root.report.notes.append(note)


def _note_unknown(fields: Fields, known: set[str]) -> None:
    for key in fields.value:
        if key not in known:
            close = difflib.get_close_matches(key, known, 1)
            meant = f" (did you mean {close[0]}?)" if close else ""
            fields.report.notes.append(f"{fields.at(key)}: HCCL does not know this field{meant}")

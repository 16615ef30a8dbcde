"""Rules across the devices of a table: numbers, addresses, and ranks have to fit together."""

import ipaddress
import itertools
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Sequence
from typing import TypeVar

from rank_tables.fields import Address, DeviceEntry, Report, ServerEntry

# RFC 5737 and RFC 3849. The ready tables of this folder have addresses from them.
_DOCUMENTATION = [
    ipaddress.ip_network(network)
    for network in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32")
]

Item = TypeVar("Item")


def devices_of(servers: Iterable[ServerEntry]) -> list[DeviceEntry]:
    """Return the devices of all servers."""
    return [device for server in servers for device in server.devices]


def repeated(items: Iterable[tuple[Hashable, Item]]) -> Iterator[tuple[Item, Item]]:
    """Yield every item whose key came before, with the item that had it first; None is no key."""
    first: dict[Hashable, Item] = {}
    for key, item in items:
        if key is not None and (other := first.setdefault(key, item)) is not item:
            yield item, other


def check_devices(report: Report, servers: Iterable[ServerEntry]) -> None:
    """Check that a device stands on its server, which pods may share, once."""
    by_server: dict[object, list[DeviceEntry]] = {}
    for server in servers:
        by_server.setdefault(server.server_id or (server.path,), []).extend(server.devices)
    for devices in by_server.values():
        for device, other in repeated((device.device_id, device) for device in devices):
            problem = f"device {device.device_id} again, as in {other.path}"
            report.add(f"{device.path}.device_id", problem, "write the N of its /dev/davinciN")


def check_addresses(report: Report, servers: Iterable[ServerEntry]) -> None:
    """Check that every address is given once, of one family, and as many to every device."""
    given = [(device, device.addresses) for device in devices_of(servers) if device.addresses]
    if not given:
        return
    [(family, _)] = Counter(a.version for _, addresses in given for a in addresses).most_common(1)
    [(size, _)] = Counter(len(addresses) for _, addresses in given).most_common(1)
    owner: dict[Address, DeviceEntry] = {}
    for device, addresses in given:
        path = f"{device.path}.device_ip"
        for address in addresses:
            other = owner.setdefault(address, device)
            if other is not device or addresses.count(address) > 1:
                where = f"as in {other.path}" if other is not device else "twice"
                report.add(path, f"{address} again, {where}", address_remedy(device.device_id))
                break
        if {address.version for address in addresses} != {family}:
            remedy = "give all devices addresses of one family"
            report.add(path, f"not IPv{family} as the others", remedy)
        if len(addresses) != size:
            problem = f"{len(addresses)} addresses, but other devices have {size}"
            report.add(path, problem, "give every device as many addresses")


def check_ranks(report: Report, servers: Sequence[ServerEntry]) -> None:
    """Check that the ranks are 0 to N-1, each once, and those of a server follow one another."""
    if not all(server.whole for server in servers):
        return  # without knowing how many devices there are, every rank would look wrong
    devices = devices_of(servers)
    wanted = range(len(devices))
    known = {device.rank_id for device in devices}
    missing = [rank for rank in wanted if rank not in known]
    remedy = f"number the {len(devices)} devices 0 to {len(devices) - 1}"
    if missing and None not in known:
        remedy += f": {ranges(missing)} {'is' if len(missing) == 1 else 'are'} missing"
    again = {device.path: other for device, other in repeated((d.rank_id, d) for d in devices)}
    for device in devices:
        problem = f"rank {device.rank_id} of a table of {len(devices)} devices"
        if device.path in again:
            problem = f"rank {device.rank_id} again, as in {again[device.path].path}"
        elif device.rank_id is None or device.rank_id in wanted:
            continue
        report.add(f"{device.path}.rank_id", problem, remedy)
    for server in servers if not missing else ():
        ranks = sorted(device.rank_id or 0 for device in server.devices)
        if ranks and ranks[-1] - ranks[0] >= len(ranks):
            problem = f"its ranks {ranges(ranks)} do not follow one another"
            report.add(server.path, problem, "number the devices server by server")


def note_surprises(report: Report, servers: Sequence[ServerEntry]) -> None:
    """Note what HCCL accepts, but perhaps not on this hardware, or not as it was meant."""
    by_rank = sorted(servers, key=lambda server: min(d.rank_id or 0 for d in server.devices))
    ids = [server.server_id or "" for server in by_rank]
    if ids != sorted(ids):
        report.notes.append(
            "the ranks do not follow the servers sorted by server_id as text, as MindSpore's "
            "documents ask; HCCL itself goes by rank_id alone"
        )
    _note_atlas_910(report, [[d.device_id or 0 for d in server.devices] for server in servers])
    addresses = [address for device in devices_of(servers) for address in device.addresses or ()]
    if any(address in network for address in addresses for network in _DOCUMENTATION):
        report.notes.append(
            "these are the addresses of the ready tables: put in your own (generate finds them)"
        )
    if not {str(address) for address in addresses}.isdisjoint(ids):
        report.notes.append(
            "a device_ip equals a server_id: device_ip is the address of the NPU's own port, "
            "not of the host"
        )


def _note_atlas_910(report: Report, servers: Sequence[Sequence[int]]) -> None:
    """Note what does not suit the first 910, with eight NPUs a server, in two rings of four."""
    if max(map(max, servers)) > 7:
        return  # then it is none
    problems = []
    sizes = {len(numbers) for numbers in servers}
    if sizes - {1, 2, 4, 8}:
        problems.append("a server takes part with 1, 2, 4 or 8 NPUs")
    elif any(len(numbers) in (2, 4) and min(numbers) < 4 <= max(numbers) for numbers in servers):
        problems.append("2 or 4 NPUs must all be from 0-3 or all from 4-7")
    if len(sizes) > 1:
        problems.append("every server takes part with as many NPUs")
    if problems:
        limits = ", and ".join(problems)
        report.notes.append(f"not for Atlas 910 (A), where {limits}; newer ones take it")


def address_remedy(device_id: int | None) -> str:
    """Return where a right address comes from."""
    number = "N" if device_id is None else device_id
    return f"write what hccn_tool -i {number} -ip -g prints on that server"


def ranges(numbers: Iterable[int]) -> str:
    """Return ascending numbers as "0-3, 6"."""
    runs = itertools.groupby(enumerate(numbers), lambda pair: pair[1] - pair[0])
    spans = [[number for _, number in run] for _, run in runs]
    return ", ".join(str(s[0]) if len(s) == 1 else f"{s[0]}-{s[-1]}" for s in spans)

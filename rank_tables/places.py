"""Rules across the devices of a table: numbers, addresses, and ranks have to fit together."""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from rank_tables.fields import Address
from rank_tables.report import Report

# RFC 5737 and RFC 3849. The ready tables of this folder have addresses from them.
_DOCUMENTATION = tuple(
    map(
        ipaddress.ip_network,
        ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32"),
    )
)


@dataclass(frozen=True)
class Place:
    """One device of a table; None for what could not be read."""

    path: str
    device_id: int | None
    addresses: list[Address] | None
    rank_id: int | None = None


@dataclass
class Machine:
    """One server of a table with its devices; ``whole`` if all of them could be found."""

    path: str
    server_id: str | None
    places: list[Place] = field(default_factory=list)
    whole: bool = True


def check_devices(report: Report, machine: Machine) -> None:
    """A device stands on its server once."""
    first: dict[int, Place] = {}
    for place in machine.places:
        if place.device_id is None:
            continue
        other = first.setdefault(place.device_id, place)
        if other is not place:
            problem = f"device {place.device_id} again, as in {other.path}"
            remedy = "write the N of its /dev/davinciN"
            report.add(f"{place.path}.device_id", problem, remedy)


def check_addresses(report: Report, places: Sequence[Place]) -> None:
    """Every address is given once; all are of one family; every device has as many."""
    with_addresses = [(place, place.addresses) for place in places if place.addresses]
    owner: dict[Address, Place] = {}
    versions: Counter[int] = Counter(
        a.version for _, addresses in with_addresses for a in addresses
    )
    counts = Counter(len(addresses) for _, addresses in with_addresses)
    for place, addresses in with_addresses:
        path = f"{place.path}.device_ip"
        for address in addresses:
            other = owner.setdefault(address, place)
            if other is not place or addresses.count(address) > 1:
                where = f"as in {other.path}" if other is not place else "twice"
                report.add(path, f"{address} again, {where}", address_remedy(place.device_id))
                break
        if {address.version for address in addresses} != {_usual(versions)}:
            problem = f"not IPv{_usual(versions)} as the others"
            report.add(path, problem, "give all devices addresses of one family")
        if len(addresses) != _usual(counts):
            problem = f"{len(addresses)} addresses, but other devices have {_usual(counts)}"
            report.add(path, problem, "give every device as many addresses")


def check_ranks(report: Report, machines: Sequence[Machine]) -> None:
    """The ranks are 0 to N-1, each once, and those of a server follow one another."""
    if not all(machine.whole for machine in machines):
        return  # without knowing how many devices there are, every rank would look wrong
    places = [place for machine in machines for place in machine.places]
    wanted = range(len(places))
    known = {place.rank_id for place in places}
    complete = None not in known
    missing = [rank for rank in wanted if rank not in known]
    remedy = f"number the {len(places)} devices 0 to {len(places) - 1}"
    if complete and missing:
        remedy += f": {ranges(missing)} {'is' if len(missing) == 1 else 'are'} missing"
    first: dict[int, Place] = {}
    for place in places:
        if place.rank_id is None:
            continue
        other = first.setdefault(place.rank_id, place)
        if other is not place:
            problem = f"rank {place.rank_id} again, as in {other.path}"
            report.add(f"{place.path}.rank_id", problem, remedy)
        elif place.rank_id not in wanted:
            problem = f"rank {place.rank_id} of a table of {len(places)} devices"
            report.add(f"{place.path}.rank_id", problem, remedy)
    if complete and not missing:
        _check_together(report, machines)


def _check_together(report: Report, machines: Iterable[Machine]) -> None:
    for machine in machines:
        ranks = sorted(p.rank_id for p in machine.places if p.rank_id is not None)
        if ranks and ranks[-1] - ranks[0] >= len(ranks):
            problem = f"its ranks {ranges(ranks)} do not follow one another"
            report.add(machine.path, problem, "number the devices server by server")


def note_surprises(report: Report, machines: Sequence[Machine]) -> None:
    """Notes what HCCL accepts, but perhaps not on this hardware, or not as it was meant."""
    _note_order(report, machines)
    _note_atlas_910(report, machines)
    addresses = [a for m in machines for p in m.places for a in p.addresses or ()]
    if any(a in net for a in addresses for net in _DOCUMENTATION if a.version == net.version):
        report.note(
            "these are the addresses of the ready tables: put in your own (generate finds them)"
        )
    hosts = {machine.server_id for machine in machines}
    if any(str(address) in hosts for address in addresses):
        report.note(
            "a device_ip equals a server_id: device_ip is the address of the NPU's own port, "
            "not of the host"
        )


def _note_order(report: Report, machines: Sequence[Machine]) -> None:
    ids = [machine.server_id or "" for machine in sorted(machines, key=_lowest_rank)]
    if ids != sorted(ids):
        report.note(
            "the ranks do not follow the servers sorted by server_id as text, as MindSpore's "
            "documents ask; HCCL itself goes by rank_id alone"
        )


def _lowest_rank(machine: Machine) -> int:
    return min((p.rank_id for p in machine.places if p.rank_id is not None), default=0)


def _note_atlas_910(report: Report, machines: Sequence[Machine]) -> None:
    """The limits of the first 910: eight NPUs a server, in two rings of four."""
    if any((place.device_id or 0) > 7 for m in machines for place in m.places):
        return  # then it is none
    problems = []
    sizes = {len(machine.places) for machine in machines}
    if sizes - {1, 2, 4, 8}:
        problems.append("a server takes part with 1, 2, 4 or 8 NPUs")
    elif any(_mixes_rings(machine) for machine in machines):
        problems.append("2 or 4 NPUs must all be from 0-3 or all from 4-7")
    if len(sizes) > 1:
        problems.append("every server takes part with as many NPUs")
    if problems:
        report.note(f"not for Atlas 910 (A), where {', and '.join(problems)}; newer ones take it")


def _mixes_rings(machine: Machine) -> bool:
    numbers = [place.device_id for place in machine.places if place.device_id is not None]
    return len(numbers) in (2, 4) and len({number // 4 for number in numbers}) > 1


def address_remedy(device_id: int | None) -> str:
    """Returns where a right address comes from."""
    number = "N" if device_id is None else device_id
    return f"write what hccn_tool -i {number} -ip -g prints on that server"


def ranges(numbers: Iterable[int]) -> str:
    """Returns ascending numbers as "0-3, 6"."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][-1] + 1:
            parts[-1].append(number)
        else:
            parts.append([number])
    return ", ".join(str(p[0]) if len(p) == 1 else f"{p[0]}-{p[-1]}" for p in parts)


def _usual(counter: Counter[int]) -> int:
    return counter.most_common(1)[0][0]

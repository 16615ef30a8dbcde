"""The processor cores of this machine and its NUMA nodes, as the kernel describes them."""

import os
from collections.abc import Mapping
from pathlib import Path

Cores = tuple[int, ...]

SYSTEM = Path("/sys/devices/system")


def allowed_cores(
    system: Path = SYSTEM, allowed: frozenset[int] | None = None
) -> tuple[Cores, ...]:
    """Return the cores this process may run on, a group for every NUMA node.

    Within a group the threads of one core are neighbours, so that a share of the group is made of
    whole cores.

    Args:
        system: The kernel's description of the machine.
        allowed: The cores to look at; None for those of this process.
    """

    def place(core: int) -> tuple[int, int]:
        siblings = parse_list(_read(system / f"cpu/cpu{core}/topology/thread_siblings_list"))
        return (min(siblings, default=core), core)

    left = set(os.sched_getaffinity(0) if allowed is None else allowed)
    groups = []
    for cores in numa_nodes(system).values():
        groups.append(left & cores)
        left -= cores
    groups.append(left)  # where the kernel says nothing about NUMA nodes
    return tuple(tuple(sorted(group, key=place)) for group in groups if group)


def numa_nodes(system: Path = SYSTEM) -> dict[int, set[int]]:
    """Return the cores of every NUMA node by its number, ascending."""
    names = (path.name.removeprefix("node") for path in system.glob("node/node[0-9]*"))
    return {
        number: set(parse_list(_read(system / f"node/node{number}/cpulist")))
        for number in sorted(map(int, names))
    }


def nearest_nodes(nodes: Mapping[int, set[int]], system: Path = SYSTEM) -> dict[int, list[int]]:
    """Return for every NUMA node the other nodes that are nearest to it, several at a tie.

    Args:
        nodes: What ``numa_nodes`` returned.
        system: The kernel's description of the machine.
    """
    nearest = {}
    for number in nodes:
        distances = _read(system / f"node/node{number}/distance").split()
        others = {
            other: int(text)
            for other, text in zip(nodes, distances, strict=False)
            if other != number
        }
        least = min(others.values(), default=0)
        nearest[number] = [other for other, distance in others.items() if distance == least]
    return nearest


def parse_list(text: str) -> list[int]:
    """Read a list as the kernel writes it: "0-3,8" is 0, 1, 2, 3, 8."""
    numbers: list[int] = []
    for part in filter(None, text.strip().split(",")):
        first, _, last = part.partition("-")
        numbers.extend(range(int(first), int(last or first) + 1))
    return numbers


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""

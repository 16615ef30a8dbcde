"""What this machine has to offer, NPUs and processor cores, and which rank gets which cores."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from train.environment import visible_npus

Cores = tuple[int, ...]

# More processes than this on cores alone: each starts to cost more memory than it brings speed.
_MAX_DEFAULT_CPU_RANKS = 8


@dataclass(frozen=True)
class Machine:
    """The devices that ranks of this job may use.

    Attributes:
        npus: Physical numbers of the Ascend devices this process can see (the N of
            /dev/davinciN); a process calls them 0, 1, 2 ... in this order.
        core_groups: Numbers of the cores this process may run on, a group for every NUMA node,
            threads of the same core next to each other.
    """

    npus: tuple[int, ...]
    core_groups: tuple[Cores, ...]

    @property
    def num_cores(self) -> int:
        """Cores of all groups."""
        return sum(map(len, self.core_groups))

    @property
    def default_world_size(self) -> int:
        """One rank per NPU, or else one per core up to a limit."""
        return len(self.npus) or min(self.num_cores, _MAX_DEFAULT_CPU_RANKS)


def this_machine() -> Machine:
    """Look at the machine this process runs on."""
    return Machine(visible_npus(os.environ), allowed_cores())


def allowed_cores(
    system: Path = Path("/sys/devices/system"), allowed: frozenset[int] | None = None
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
    nodes = system.glob("node/node[0-9]*")
    groups = []
    for node in sorted(nodes, key=lambda path: int(path.name.removeprefix("node"))):
        here = left & set(parse_list(_read(node / "cpulist")))
        left -= here
        groups.append(here)
    groups.append(left)  # where the kernel says nothing about NUMA nodes
    return tuple(tuple(sorted(group, key=place)) for group in groups if group)


def share_cores(groups: Sequence[Cores], nproc: int) -> list[Cores | None]:
    """Deal cores to ranks: as many to each, and where possible all from one NUMA node.

    Returns:
        The cores of every rank; None for all of them where there is less than one for each.
    """
    total = sum(map(len, groups))
    if nproc > total:
        return [None] * nproc
    if nproc >= len(groups):
        # Neighbouring ranks share a NUMA node, as neighbouring NPUs do.
        node_of = [rank * len(groups) // nproc for rank in range(nproc)]
        each = min(len(group) // node_of.count(n) for n, group in enumerate(groups))
        if each:
            starts = [rank - node_of.index(n) for rank, n in enumerate(node_of)]
            return [
                groups[n][start * each : (start + 1) * each]
                for n, start in zip(node_of, starts, strict=True)
            ]
    cores = [core for group in groups for core in group]
    each = total // nproc
    return [tuple(cores[rank * each : (rank + 1) * each]) for rank in range(nproc)]


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

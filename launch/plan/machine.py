"""What this machine has to offer, NPUs and processor cores, and which rank gets which cores."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from launch.plan import npu_topology
from launch.plan.numa import Cores, allowed_cores
from train.environment import npu_nodes, visible_npus
from train.preflight.limits import cpu_quota

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
        npu_cores: Cores near the NPUs, a share for each by its physical number; empty if unknown.
        note: Why that is unknown, in a sentence.
        quota: How many cores' worth of time a container allows; None without a limit.
    """

    npus: tuple[int, ...]
    core_groups: tuple[Cores, ...]
    npu_cores: Mapping[int, Cores] = field(default_factory=dict)
    note: str = ""
    quota: float | None = None

    @property
    def num_cores(self) -> int:
        """Cores that can be kept busy: those of all groups, within the quota."""
        cores = sum(map(len, self.core_groups))
        return cores if self.quota is None else max(1, min(cores, int(self.quota)))

    @property
    def is_throttled(self) -> bool:
        """Whether the time of the cores is limited rather than which cores there are."""
        return self.num_cores < sum(map(len, self.core_groups))

    @property
    def quota_note(self) -> str:
        """What a quota does to the plan, in a sentence; nothing without one."""
        if self.quota is None or not self.is_throttled:
            return ""
        return (
            f"a quota of {self.quota:g} cores (docker run --cpus, a limit of Kubernetes) counts as "
            f"{self.num_cores}, and no rank is bound to cores"
        )

    @property
    def default_world_size(self) -> int:
        """One rank per NPU, or else one per core up to a limit."""
        return len(self.npus) or min(self.num_cores, _MAX_DEFAULT_CPU_RANKS)

    def shares(self, devices: Sequence[int]) -> list[Cores | None]:
        """Return the cores of ranks: those near their NPUs, or else in the order of NUMA nodes.

        Args:
            devices: The device of every rank as its process counts them.

        Returns:
            The cores of every rank; None for all of them where there is less than one for each,
            or where a quota limits their time.
        """
        if self.is_throttled:
            # Any core will do for a while, and other containers are on some of them.
            return [None] * len(devices)
        npus = [self.npus[device] for device in devices if device < len(self.npus)]
        if len(npus) == len(devices) and self.npu_cores.keys() >= set(npus):
            return [self.npu_cores[npu] for npu in npus]
        return share_cores(self.core_groups, len(devices))


def count_devices() -> Machine:
    """Look at the machine this process runs on, without asking which cores are near which NPU."""
    return Machine(visible_npus(os.environ), allowed_cores(), quota=cpu_quota())


def this_machine() -> Machine:
    """Look at the machine this process runs on."""
    counted = count_devices()
    npus, groups = counted.npus, counted.core_groups
    if not npus:
        return counted
    try:
        near = npu_topology.parse(npu_topology.ask())
        shares = npu_topology.deal_cores(near, npu_nodes(), groups)
        if not shares.keys() >= set(npus):
            raise npu_topology.TopologyUnknown("names cores that this process may not use")
    except npu_topology.TopologyUnknown as error:
        note = f"cores go by NUMA node, not by NPU: {' '.join(npu_topology.COMMAND)} {error}"
        return replace(counted, note=note)
    return replace(counted, npu_cores=shares)


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

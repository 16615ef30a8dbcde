"""What this machine has to offer: NPUs and processor cores."""

import os
from dataclasses import dataclass

from launch.cores import allowed_cores
from train.environment import visible_npus

# More processes than this on cores alone: each starts to cost more memory than it brings speed.
_MAX_DEFAULT_CPU_RANKS = 8


@dataclass(frozen=True)
class Machine:
    """The devices that ranks of this job may use.

    Attributes:
        npus: physical numbers of the Ascend devices this process can see (the N of
            /dev/davinciN); a process calls them 0, 1, 2 ... in this order.
        core_groups: numbers of the cores this process may run on, a group for every NUMA node,
            threads of the same core next to each other.
    """

    npus: tuple[int, ...]
    core_groups: tuple[tuple[int, ...], ...]

    @property
    def num_cores(self) -> int:
        """Cores of all groups."""
        return sum(map(len, self.core_groups))

    @property
    def default_world_size(self) -> int:
        """One rank per NPU, or else one per core up to a limit."""
        return len(self.npus) or min(self.num_cores, _MAX_DEFAULT_CPU_RANKS)


def this_machine() -> Machine:
    """Looks at the machine this process runs on."""
    return Machine(visible_npus(os.environ), allowed_cores())

"""What this machine has to offer: NPUs and processor cores."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from launch.cores import allowed_cores

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


def visible_npus(
    environment: Mapping[str, str], device_folder: Path = Path("/dev")
) -> tuple[int, ...]:
    """Returns the physical numbers of the Ascend devices this process can see.

    Args:
        environment: ASCEND_RT_VISIBLE_DEVICES in it restricts what the process sees. Its numbers
            count the device nodes that are there: in a container 0 may be /dev/davinci4.
        device_folder: where the device nodes are.
    """
    # Numbers may have gaps (davinci10, davinci12), and davinci_manager is no device.
    names = (re.fullmatch(r"davinci(\d+)", path.name) for path in device_folder.glob("davinci*"))
    nodes = sorted(int(name.group(1)) for name in names if name)
    visible = environment.get("ASCEND_RT_VISIBLE_DEVICES")
    if visible is None:
        return tuple(nodes)
    chosen = []
    for text in filter(None, (part.strip() for part in visible.split(","))):
        # Like the driver, which ignores everything from the first wrong number on.
        if not text.isdecimal() or int(text) >= len(nodes):
            break
        chosen.append(nodes[int(text)])
    return tuple(chosen)

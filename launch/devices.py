"""What this machine has to offer: NPUs and processor cores."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

# More processes than this on cores alone: each starts to cost more memory than it brings speed.
_MAX_DEFAULT_CPU_RANKS = 8


@dataclass(frozen=True)
class Machine:
    """The devices that ranks of this job may use.

    Attributes:
        npus: number of Ascend devices this process can see.
        cores: numbers of the cores this process may run on, ascending.
    """

    npus: int
    cores: tuple[int, ...]

    @property
    def default_world_size(self) -> int:
        """One rank per NPU, or else one per core up to a limit."""
        return self.npus or min(len(self.cores), _MAX_DEFAULT_CPU_RANKS)


def this_machine() -> Machine:
    """Looks at the machine this process runs on."""
    return Machine(npus=count_npus(os.environ), cores=tuple(sorted(os.sched_getaffinity(0))))


def count_npus(environment: Mapping[str, str], device_folder: Path = Path("/dev")) -> int:
    """Counts the Ascend devices this process can see.

    Args:
        environment: ASCEND_RT_VISIBLE_DEVICES in it restricts what the process sees.
        device_folder: where the device nodes are.
    """
    # Numbers may have gaps (davinci10, davinci12), and davinci_manager is no device.
    nodes = [p for p in device_folder.glob("davinci*") if re.fullmatch(r"davinci\d+", p.name)]
    visible = environment.get("ASCEND_RT_VISIBLE_DEVICES")
    if visible is None:
        return len(nodes)
    return min(len(nodes), len([number for number in visible.split(",") if number.strip()]))

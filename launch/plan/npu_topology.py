"""Which cores are near which NPU, as npu-smi tells, and a share of them for every NPU."""

import contextlib
import os
import re
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from launch.plan.numa import SYSTEM, Cores, nearest_nodes, numa_nodes, parse_list

COMMAND = ("npu-smi", "info", "-t", "topo")

# It takes 1-2 s where the driver is well.
_SECONDS = 10.0

_SPAN = r"\d{1,5}(?:-\d{1,5})?"
_ROW = re.compile(
    rf"^\s*(?:NPU|Phy-ID)(\d{{1,5}})(?:[ \t]+[A-Z_]+)+[ \t]+({_SPAN}(?:,[ \t]*{_SPAN})*)\s*$", re.M
)


class TopologyUnknown(Exception):
    """It cannot be said which cores are near the NPUs; the message says why."""


def ask(command: Sequence[str] = COMMAND, seconds: float = _SECONDS) -> str:
    """Return what npu-smi says about the topology.

    Raises:
        TopologyUnknown: It is not there, fails or does not answer.
    """
    # Into a file: at a pipe, a grandchild that lives on would keep the reader waiting.
    with tempfile.TemporaryFile() as output:
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, "LC_ALL": "C"},
                start_new_session=True,
            )
        except OSError as error:
            raise TopologyUnknown(f"cannot be run ({error.strerror})") from None
        try:
            code = process.wait(seconds)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(OSError):
                os.killpg(process.pid, signal.SIGKILL)
            # One that hangs in the driver does not even die.
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.5)
            raise TopologyUnknown(f"gave no answer within {seconds:.0f} s") from None
        output.seek(0)
        text = output.read(1 << 20).decode(errors="replace")
    if code:
        raise TopologyUnknown(f"failed with exit code {code}")
    return text


def parse(text: str) -> dict[int, set[int]]:
    """Read the cores near every NPU, by the number that the table gives the NPU.

    A row is an NPU, a column its link to another one, the last column the cores of its NUMA node::

               NPU0       NPU1       CPU Affinity
        NPU0   X          HCCS       144-167
        NPU1   HCCS       X          0-23,48-71

    Seen for Atlas A2 in modelscope/ms-swift, docs/source_en/BestPractices/NPU-support.md; Huawei
    explains the column in the guide to MindX DL ToolBox, "Displaying the Device Topology". On
    Atlas A3 the rows are named "Phy-ID12"; there and on Ascend 950 (vllm-project/vllm-ascend,
    issue 10463) the column is missing.

    Returns:
        Nothing where the table has no such column or there is no table.
    """
    if "CPU Affinity" not in text:
        return {}
    return {int(row[1]): set(parse_list(re.sub(r"\s", "", row[2]))) for row in _ROW.finditer(text)}


def deal_cores(
    near: Mapping[int, set[int]],
    nodes: Sequence[int],
    groups: Sequence[Cores],
    system: Path = SYSTEM,
) -> dict[int, Cores]:
    """Deal the cores to the NPUs of the machine, to each of those near it, as many to each.

    The share of an NPU does not depend on which others a job uses, so that jobs side by side do
    not meet. A NUMA node without an NPU goes to the NPUs of the node nearest to it.

    Args:
        near: The cores near every NPU, as ``parse`` returns them.
        nodes: Numbers of all device nodes /dev/davinciN.
        groups: The cores this process may run on, a group for every NUMA node.
        system: The kernel's description of the machine.

    Returns:
        The cores of the NPUs by the number of the device node; an NPU none of whose near cores
        may be used is left out.

    Raises:
        TopologyUnknown: The table does not fit this machine.
    """
    allowed = [core for group in groups for core in group]
    homes: dict[frozenset[int], list[int]] = {}
    for npu, cores in _by_node(near, nodes).items():
        if usable := frozenset(cores & set(allowed)):
            homes.setdefault(usable, []).append(npu)
    pools = {home: set(home) for home in homes}
    if sum(map(len, pools)) > len(set().union(*pools)):
        raise TopologyUnknown("gives NPUs cores that overlap in part")
    _add_spare_nodes(pools, homes, set(allowed), system)
    each = min((len(pool) // len(homes[home]) for home, pool in pools.items()), default=0)
    if not each:
        raise TopologyUnknown("names fewer cores than NPUs that this process may use")
    shares = {}
    for home, pool in pools.items():
        ordered = [core for core in allowed if core in pool]
        for place, npu in enumerate(homes[home]):
            shares[npu] = tuple(ordered[place * each : (place + 1) * each])
    return shares


def _by_node(near: Mapping[int, set[int]], nodes: Sequence[int]) -> dict[int, set[int]]:
    """Name the rows of a table by the numbers of the device nodes.

    npu-smi uses the same numbers; a container may have its own, counted from 0.
    """
    if not near:
        raise TopologyUnknown("names no cores")
    if set(nodes) <= near.keys():
        return dict(near)
    if len(nodes) == len(near):
        return dict(zip(sorted(nodes), (near[number] for number in sorted(near)), strict=True))
    raise TopologyUnknown("names other NPUs than /dev has")


def _add_spare_nodes(
    pools: dict[frozenset[int], set[int]],
    homes: Mapping[frozenset[int], Sequence[int]],
    allowed: set[int],
    system: Path,
) -> None:
    """Add the cores of every NUMA node without an NPU to a pool on the node nearest to it."""
    numa = numa_nodes(system)
    taken = set().union(*pools)
    for number, nearest in nearest_nodes(numa, system).items():
        spare = numa[number] & allowed
        owners = [home for home in pools if any(home & numa[other] for other in nearest)]
        if owners and not spare & taken:
            poorest = min(owners, key=lambda home: len(pools[home]) / len(homes[home]))
            pools[poorest] |= spare

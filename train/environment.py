"""What the environment of a process says, and what MindSpore has to find in it.

Needs neither MindSpore nor anything else that is slow to import: the launcher, the rank tables and
the tools use it too.
"""

import contextlib
import ctypes
import logging
import os
import re
from collections.abc import Mapping, MutableMapping
from pathlib import Path

from train.distributed import mpirun
from train.native import library

# Set by the launcher: the files in which a rank keeps the number of its step
# and notes its failure.
HEARTBEAT = "MTLN_HEARTBEAT"
ERROR = "MTLN_ERROR"

# Where a site says that its rank table is, in MindSpore's order.
_RANK_TABLES = ("MINDSPORE_HCCL_CONFIG_PATH", "RANK_TABLE_FILE")

_CAP = "ONEDNN_MAX_CPU_ISA"
_AVX2 = 0x7  # dnnl_cpu_isa_avx2


def prepare_for_mindspore() -> None:
    """Set the variables that MindSpore reads when it is imported; a user's own value wins.

    Every program that imports MindSpore calls this before it does.
    """
    try:
        library.load()
    except library.NativeUnavailable:
        # For plain NCHW tensors, all that MindSpore's own convolutions know, oneDNN picks a
        # reference kernel on processors with AVX-512, a hundred times slower than the AVX2 kernel
        # of the same library. Other processors and devices ignore the cap.
        os.environ.setdefault(_CAP, "AVX2")
    # MindSpore warns of every graph that it does not find on disk, and of every one that it does
    # (train/step/graph_cache.py), and of every split into outputs of its own CPU operators. Errors
    # still come through.
    os.environ.setdefault("MS_SUBMODULE_LOG_v", "{PIPELINE:3,SESSION:3}")
    # What will be removed from MindSpore one day concerns us, who pin its version, and no user.
    logging.getLogger(f"ME.mindspore.log.{os.getpid()}").addFilter(_concerns_users)
    mpirun.hide_stale_variables(os.environ)
    hide_rank_table(os.environ)


def _concerns_users(record: logging.LogRecord) -> bool:
    return "deprecated" not in record.getMessage()


def rank_table(environment: Mapping[str, str]) -> str | None:
    """Return the rank table that the environment names, None if there is none."""
    return next(filter(None, map(environment.get, _RANK_TABLES)), None)


def hide_rank_table(environment: MutableMapping[str, str]) -> None:
    """Remove what names a rank table from the environment of a process with MindSpore.

    MindSpore 2.10 refuses to start from one. Where the ranks are started in another way, a table
    would make it compile whole graphs (O2) at the least, or number the ranks anew.
    """
    for name in _RANK_TABLES:
        environment.pop(name, None)


def cap_instructions() -> None:
    """Set the same cap where it turns out later that MindSpore's own convolutions are used.

    For this process only, and before oneDNN computes anything.
    """
    if _CAP not in os.environ:
        with contextlib.suppress(library.NativeUnavailable):
            ctypes.CDLL(str(library.onednn())).dnnl_set_max_cpu_isa(_AVX2)


def whole_number(environment: Mapping[str, str], name: str) -> int | None:
    """Return the whole number (at least 0) in a variable; None if there is none in it."""
    text = environment.get(name, "")
    return int(text) if text.isascii() and text.isdecimal() else None


def number_of_ranks(environment: Mapping[str, str]) -> tuple[int, int]:
    """Return the number of ranks of the job, and of this machine where mpirun tells it, or else 1.

    What is wrong with the variables is told when the rank looks for its place in the job.
    """
    found = mpirun.names(environment)
    sizes = [found.size] if found else ["RANK_SIZE", "MS_WORKER_NUM"]
    ranks = next(filter(None, (whole_number(environment, name) for name in sizes)), 1)
    here = whole_number(environment, "OMPI_COMM_WORLD_LOCAL_SIZE") if found else None
    return ranks, here or 1


def visible_npus(
    environment: Mapping[str, str], device_folder: Path = Path("/dev")
) -> tuple[int, ...]:
    """Return the physical numbers of the Ascend devices that this process can see.

    Args:
        environment: ASCEND_RT_VISIBLE_DEVICES in it restricts what the process sees. Its numbers
            count the device nodes that are there: in a container 0 may be /dev/davinci4.
        device_folder: Where the device nodes are.
    """
    nodes = npu_nodes(device_folder)
    visible = environment.get("ASCEND_RT_VISIBLE_DEVICES")
    if visible is None:
        return nodes
    chosen = []
    for text in filter(None, (part.strip() for part in visible.split(","))):
        # Like the driver, which ignores everything from the first wrong number on.
        if not text.isdecimal() or int(text) >= len(nodes):
            break
        chosen.append(nodes[int(text)])
    return tuple(chosen)


def npu_nodes(device_folder: Path = Path("/dev")) -> tuple[int, ...]:
    """Return the N of all device nodes davinciN, ascending.

    There may be gaps (davinci10, davinci12), and davinci_manager is no device.
    """
    names = (re.fullmatch(r"davinci(\d+)", path.name) for path in device_folder.glob("davinci*"))
    return tuple(sorted(int(name[1]) for name in names if name))

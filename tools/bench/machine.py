"""What the figures were measured on, and with."""

import datetime
import os
import platform
import re
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tools.bench.group import ROOT

# Of the processor's abilities, those that the kernels of convolutions are chosen by.
_ABILITIES = ("avx", "fma", "sse4_2", "asimd", "sve", "bf16", "amx")


def describe() -> dict[str, Any]:
    """Return plain values: the machine and the software."""
    flags = (_about_processor("flags") or _about_processor("Features")).split()
    return {
        "processor": _about_processor("model name") or platform.processor() or platform.machine(),
        "architecture": platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "abilities": [flag for flag in flags if flag.startswith(_ABILITIES)],
        "memory_gb": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9, 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in ("mindspore", "numpy", "mpi4py", "pillow")},
        "mpirun": _first_line(["mpirun", "--version"]),
    }


def moment() -> dict[str, Any]:
    """Return plain values that change: time, load, commit."""
    changed = _first_line(["git", "status", "--porcelain", "--untracked-files=no"])
    return {
        "when": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "load": [round(value, 2) for value in os.getloadavg()],
        "commit": _first_line(["git", "rev-parse", "HEAD"]),
        "uncommitted_changes": bool(changed),
    }


def _about_processor(key: str) -> str:
    """Return what Linux says of the first core under a key; "" if nothing."""
    found = re.search(rf"^{key}\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return found[1] if found else ""


def _first_line(command: list[str]) -> str | None:
    """Return what a command prints first; None if it cannot be run."""
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return next(iter(done.stdout.splitlines()), None)

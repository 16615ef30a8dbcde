"""What the figures were measured on, and with."""

import datetime
import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

from tools.bench.group import ROOT

# Of the processor's abilities, those that the kernels of convolutions are chosen by.
_ABILITIES = ("avx", "fma", "sse4_2", "asimd", "sve", "bf16", "amx")


def describe() -> dict[str, Any]:
    """Plain values: the machine, the software, the commit."""
    information = _pairs(Path("/proc/cpuinfo"))
    flags = information.get("flags", information.get("Features", "")).split()
    return {
        "processor": information.get("model name", platform.processor() or platform.machine()),
        "architecture": platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "abilities": [flag for flag in flags if flag.startswith(_ABILITIES)],
        "memory_gb": round(_kilobytes(Path("/proc/meminfo"), "MemTotal") / 1e6, 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in ("mindspore", "numpy", "mpi4py", "pillow")},
        "mpirun": _first_line(["mpirun", "--version"]),
    }


def moment() -> dict[str, Any]:
    """Plain values that change: time, load, commit."""
    changed = _first_line(["git", "status", "--porcelain", "--untracked-files=no"])
    return {
        "when": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "load": [round(value, 2) for value in os.getloadavg()],
        "commit": _first_line(["git", "rev-parse", "HEAD"]),
        "uncommitted_changes": bool(changed),
    }


def _pairs(path: Path) -> dict[str, str]:
    """``key : value`` lines; of a key that comes several times, the first one."""
    pairs: dict[str, str] = {}
    for line in path.read_text().splitlines():
        key, colon, value = line.partition(":")
        if colon:
            pairs.setdefault(key.strip(), value.strip())
    return pairs


def _kilobytes(path: Path, key: str) -> int:
    return int(_pairs(path)[key].split()[0])


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _first_line(command: list[str]) -> str | None:
    """What a command prints first; None if it cannot be run."""
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return next(iter(done.stdout.splitlines()), None)

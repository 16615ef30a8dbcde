"""What a container may use of its machine: the limits of control groups, versions 1 and 2.

Needs the standard library only: the launcher and the doctor use it too.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path

_ROOT = Path("/")
# A limit of version 1 above this stands for none.
_NO_LIMIT = 2**60


def cpu_quota(root: Path = _ROOT) -> float | None:
    """Return how many cores' worth of time this process may use; None without a limit.

    Args:
        root: Where the file system of the machine is.
    """
    quotas = [_ratio(*texts.split()) for texts in _read(root, "", "cpu.max")]
    amounts = _read(root, "cpu", "cpu.cfs_quota_us")
    periods = _read(root, "cpu", "cpu.cfs_period_us")
    quotas += [_ratio(*texts) for texts in zip(amounts, periods, strict=False)]
    return min((quota for quota in quotas if quota is not None), default=None)


def usable_cores(root: Path = _ROOT) -> int:
    """Return how many cores this process keeps busy: those it may run on, within its quota."""
    cores = len(os.sched_getaffinity(0))
    quota = cpu_quota(root)
    return cores if quota is None else max(1, min(cores, int(quota)))


def memory(root: Path = _ROOT) -> int | None:
    """Return the bytes of memory that this process may use, None if that is not known."""
    texts = [*_read(root, "", "memory.max"), *_read(root, "memory", "memory.limit_in_bytes")]
    limits = [int(text) for text in texts if text.isdecimal() and int(text) < _NO_LIMIT]
    try:
        found = re.search(r"MemTotal:\s+(\d+) kB", (root / "proc/meminfo").read_text())
    except OSError:
        found = None
    limits += [int(found[1]) * 1024] if found else []
    return min(limits, default=None)


def _ratio(amount: str, period: str) -> float | None:
    """Return a quota in cores; "max" and -1 stand for none."""
    if not amount.isdecimal() or not period.isdecimal() or not int(period):
        return None
    return int(amount) / int(period)


def _read(root: Path, controller: str, name: str) -> list[str]:
    """Return a file of the own control group and of all above it, where it is there."""
    return [
        text.strip()
        for folder in _folders(root, controller)
        if (text := _text(folder / name)) is not None
    ]


def _folders(root: Path, controller: str) -> Iterator[Path]:
    """Yield the folders of the own control group and of those above it.

    In a container the groups of the whole machine may not be there, only its own, at the top.

    Args:
        root: Where the file system of the machine is.
        controller: That of version 1; "" for version 2.
    """
    top = root / "sys/fs/cgroup"
    if controller:
        top /= controller
    for line in (_text(root / "proc/self/cgroup") or "").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controller in controllers.split(","):
            group = top / path.strip("/")
            if ".." not in group.parts:
                yield from (p for p in (group, *group.parents) if p != top and top in p.parents)
    yield top


def _text(path: Path) -> str | None:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError):
        return None

"""The limits of control groups, read from files as Linux has them."""

import os
from pathlib import Path

import pytest

from train.preflight.limits import cpu_quota, memory, usable_cores


def machine(root: Path, **files: str) -> Path:
    """A file system with these files; "__" stands for "/" and "_d_" for a dot."""
    for name, text in files.items():
        path = root / name.replace("__", "/").replace("_d_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


V1_CPU = "sys__fs__cgroup__cpu__"


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({}, None),
        ({"sys__fs__cgroup__cpu_d_max": "max 100000\n"}, None),
        ({"sys__fs__cgroup__cpu_d_max": "150000 100000\n"}, 1.5),
        # Outside of a container the limit is on a group above the own one.
        (
            {
                "proc__self__cgroup": "0::/user.slice/job.scope\n",
                "sys__fs__cgroup__user.slice__cpu_d_max": "200000 100000\n",
                "sys__fs__cgroup__user.slice__job.scope__cpu_d_max": "max 100000\n",
            },
            2.0,
        ),
        # Version 1, in a container that sees its own group at the top.
        (
            {
                "proc__self__cgroup": "4:cpu,cpuacct:/docker/abc\n2:memory:/docker/abc\n",
                f"{V1_CPU}cpu_d_cfs_quota_us": "50000\n",
                f"{V1_CPU}cpu_d_cfs_period_us": "100000\n",
            },
            0.5,
        ),
        (
            {
                "proc__self__cgroup": "4:cpu,cpuacct:/docker/abc\n",
                f"{V1_CPU}docker__abc__cpu_d_cfs_quota_us": "300000\n",
                f"{V1_CPU}docker__abc__cpu_d_cfs_period_us": "100000\n",
                f"{V1_CPU}cpu_d_cfs_quota_us": "-1\n",
                f"{V1_CPU}cpu_d_cfs_period_us": "100000\n",
            },
            3.0,
        ),
    ],
)
def test_quota(tmp_path: Path, files: dict[str, str], quota: float | None) -> None:
    root = machine(tmp_path, **files)
    assert cpu_quota(root) == quota
    cores = len(os.sched_getaffinity(0))
    assert usable_cores(root) == max(1, min(cores, int(quota if quota is not None else cores)))


def test_memory(tmp_path: Path) -> None:
    assert memory(tmp_path) is None
    root = machine(tmp_path, proc__meminfo="MemTotal:       16000 kB\nMemFree: 1 kB\n")
    assert memory(root) == 16000 * 1024
    machine(root, sys__fs__cgroup__memory_d_max="max\n")
    assert memory(root) == 16000 * 1024
    machine(root, sys__fs__cgroup__memory__memory_d_limit_in_bytes="9223372036854771712\n")
    assert memory(root) == 16000 * 1024
    machine(root, sys__fs__cgroup__memory_d_max="1000000\n")
    assert memory(root) == 1_000_000

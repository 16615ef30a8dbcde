"""Rank tables to check and to break, the command line, and stand-ins for the driver's tools."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.paths import ROOT

Tree = dict[str, Any]
Run = Callable[..., subprocess.CompletedProcess[str]]


def _table(sizes: Sequence[int]) -> Tree:
    """A version 1.0 table with so many devices on each server."""
    servers = []
    rank = 0
    for index, size in enumerate(sizes):
        devices = []
        for number in range(size):
            ip = f"10.1.{index}.{number + 1}"
            devices.append({"device_id": str(number), "device_ip": ip, "rank_id": str(rank)})
            rank += 1
        servers.append({"server_id": f"node_{index}", "device": devices})
    return {
        "version": "1.0",
        "server_count": str(len(sizes)),
        "server_list": servers,
        "status": "completed",
    }


def _job(pods: Sequence[str], size: int = 2) -> Tree:
    """ModelArts' description of a job with these pods, each on a server of its own."""
    instances = [
        {
            "pod_name": name,
            "server_id": f"10.0.0.{index + 1}",
            "devices": [
                {"device_id": str(device), "device_ip": f"10.1.{index}.{device + 1}"}
                for device in range(size)
            ],
        }
        for index, name in enumerate(pods)
    ]
    group = {
        "group_name": "job",
        "device_count": str(size * len(pods)),
        "instance_count": str(len(pods)),
        "instance_list": instances,
    }
    return {"status": "completed", "group_count": "1", "group_list": [group]}


def _ranks(size: int) -> Tree:
    """A version 2.0 table of servers with two devices."""
    ranks = [
        {
            "rank_id": rank,
            "local_id": rank % 2,
            "device_id": rank % 2,
            "level_list": [
                {
                    "net_layer": 0,
                    "net_instance_id": f"rack{rank // 2}",
                    "net_type": "TOPO_FILE_DESC",
                    "rank_addr_list": [
                        {"addr_type": "IPV4", "addr": f"10.1.0.{rank + 1}", "ports": ["1/0"]}
                    ],
                }
            ],
        }
        for rank in range(size)
    ]
    return {"status": "completed", "version": "2.0", "rank_count": size, "rank_list": ranks}


@pytest.fixture(scope="session")
def table() -> Callable[[Sequence[int]], Tree]:
    return _table


@pytest.fixture(scope="session")
def job() -> Callable[..., Tree]:
    return _job


@pytest.fixture(scope="session")
def ranks() -> Callable[[int], Tree]:
    return _ranks


@pytest.fixture
def save(tmp_path: Path) -> Callable[..., Path]:
    """Writes a tree to a file."""

    def write(tree: Any, name: str = "table.json") -> Path:
        path = tmp_path / name
        path.write_text(json.dumps(tree))
        return path

    return write


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """A folder that comes first on the PATH of the commands, for stand-ins of the tools."""
    folder = tmp_path / "tools on the path"
    folder.mkdir()
    return folder


@pytest.fixture
def run(tools: Path, tmp_path: Path) -> Run:
    """Runs python -m rank_tables as its own process."""

    def start(*arguments: object) -> subprocess.CompletedProcess[str]:
        environment = {
            **os.environ,
            "PATH": f"{tools}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "COLUMNS": "100",
        }
        return subprocess.run(
            [sys.executable, "-m", "rank_tables", *map(str, arguments)],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
        )

    return start

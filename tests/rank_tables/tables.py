"""Rank tables to check and to break, and what the tests of this folder have in common."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rank_tables.fields import Report
from rank_tables.load import check, parse
from tests.aliases import Ended

Tree = dict[str, Any]
Run = Callable[..., Ended]
Save = Callable[..., Path]


def table(sizes: Sequence[int]) -> Tree:
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


def device(tree: Tree, server: int = 0, index: int = 0) -> Tree:
    chosen: Tree = tree["server_list"][server]["device"][index]
    return chosen


def job(pods: Sequence[str], size: int = 2) -> Tree:
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


def ranks(size: int) -> Tree:
    """A version 2.0 table of servers with two devices."""
    listed = [
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
    return {"status": "completed", "version": "2.0", "rank_count": size, "rank_list": listed}


def report(tree: Any, name: str = "table.json") -> Report:
    return check(parse(Path(name), json.dumps(tree)))


def found(tree: Any) -> list[str]:
    """The violations, as they are printed."""
    return [str(violation) for violation in report(tree).violations]


def problems(tree: Any) -> list[str]:
    """The violations without the remedies."""
    return [line.partition(" -> ")[0] for line in found(tree)]


def printed(ended: Ended) -> str:
    """What a command prints that ends well and says nothing else."""
    assert (ended.returncode, ended.stderr) == (0, "")
    return ended.stdout


def only_error(ended: Ended) -> str:
    """What a command prints that ends with a mistake of the user's."""
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("error: ")
    return ended.stderr


def one_line(ended: Ended) -> str:
    error = only_error(ended)
    assert error.count("\n") == 1
    return error

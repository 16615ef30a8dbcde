"""Which place in a job this machine has, with and without a rank table."""

import json
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from launch.dry_run import plan_job
from launch.job import Job
from launch.plan.machine import Machine
from launch.plan.placement import placement_of
from tests.launch.script_jobs import Launch
from tests.paths import ROOT
from train.errors import UserError

TABLES = ROOT / "rank_tables"
NPUS8 = Machine(tuple(range(8)), (tuple(range(64)),))


def job(**options: Any) -> Job:
    return Job(["python", "-m", "train"], Path("runs/x"), **options)


def table_for(folder: Path, servers: dict[str, list[int]]) -> Path:
    """A rank table with these servers and the physical numbers of their devices."""
    rank, ip, entries = 0, 1, []
    for server, numbers in servers.items():
        devices = []
        for number in numbers:
            device = {"device_id": str(number), "device_ip": f"192.1.0.{ip}", "rank_id": str(rank)}
            devices.append(device)
            rank, ip = rank + 1, ip + 1
        entries.append({"server_id": server, "device": devices, "host_nic_ip": "reserve"})
    path = folder / "table.json"
    tree = {
        "version": "1.0",
        "server_count": str(len(entries)),
        "server_list": entries,
        "status": "completed",
    }
    path.write_text(json.dumps(tree))
    return path


def test_without_a_table() -> None:
    place = placement_of(job(nnodes=3, node_rank=2, master="a"), NPUS8)
    assert (place.nnodes, place.node, place.nproc, place.master) == (3, 2, 8, "a")


@pytest.mark.parametrize(("name", "ranks"), [("1p", 1), ("2p", 2), ("4p", 4), ("8p", 8)])
def test_ready_tables(name: str, ranks: int) -> None:
    processes = list(plan_job(job(rank_table=TABLES / f"{name}.json"), NPUS8))
    assert [process.rank for process in processes] == list(range(ranks))  # and no scheduler
    if ranks > 1:
        for process in processes:
            assert process.variables["RANK_TABLE_FILE"] == str(TABLES / f"{name}.json")
            assert process.variables["RANK_SIZE"] == str(ranks)


def test_two_servers() -> None:
    options = {"rank_table": TABLES / "2x8p.json", "node_rank": 1}
    place = placement_of(job(**options), NPUS8)
    assert (place.nnodes, place.node, place.nproc) == (2, 1, 8)
    assert place.table is not None
    assert place.master == place.table.servers[0].server_id
    processes = list(plan_job(job(**options), NPUS8))
    assert [p.rank for p in processes] == list(range(16))
    assert [p.variables["DEVICE_ID"] for p in processes] == [str(n) for n in range(8)] * 2
    assert {p.host for p in processes} == {s.server_id for s in place.table.servers}


def test_this_machine_is_found_by_its_address(tmp_path: Path) -> None:
    table = table_for(tmp_path, {"10.255.255.1": [0, 1], "127.0.0.1": [0, 1]})
    assert placement_of(job(rank_table=table), NPUS8).node == 1


def test_this_machine_is_found_by_its_name(tmp_path: Path) -> None:
    table = table_for(tmp_path, {"10.255.255.1": [0], socket.gethostname(): [0]})
    assert placement_of(job(rank_table=table), NPUS8).node == 1


def test_physical_numbers_become_the_process_s(tmp_path: Path) -> None:
    """In a container with the devices 4-7 the first is 0; gaps count too."""
    machine = Machine((4, 5, 7, 12), ((0, 1),))
    table = table_for(tmp_path, {"127.0.0.1": [5, 12]})
    assert placement_of(job(rank_table=table), machine).devices == (1, 3)
    processes = list(plan_job(job(rank_table=table), machine))
    assert [p.variables["DEVICE_ID"] for p in processes] == ["1", "3"]


@pytest.mark.parametrize(
    ("servers", "options", "named"),
    [
        ({"127.0.0.1": [0, 9]}, {}, "device_id 9 is not among the NPUs that can be seen here"),
        ({"127.0.0.1": [0, 1]}, {"nproc": 3}, "has 2 devices, but nproc is 3"),
        ({"127.0.0.1": [0, 1]}, {"nnodes": 2, "node_rank": 0}, "has 1 servers, but --nnodes is 2"),
        ({"10.255.255.1": [0], "10.255.255.2": [0]}, {}, "give --node-rank"),
        ({"127.0.0.1": [0], "10.255.255.2": [0]}, {"node_rank": 5}, "--node-rank is 5"),
    ],
)
def test_table_that_contradicts(
    tmp_path: Path, servers: dict[str, list[int]], options: dict[str, int], named: str
) -> None:
    table = table_for(tmp_path, servers)
    with pytest.raises(UserError) as raised:
        placement_of(job(rank_table=table, **options), NPUS8)
    assert named in str(raised.value)
    assert str(table) in str(raised.value)


def test_wrong_table_is_told_before_anything_starts(launch: Launch, tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_text("a: 1\n")
    table = table_for(tmp_path, {"127.0.0.1": [0, 1]})
    table.write_text(table.read_text().replace('"rank_id": "1"', '"rank_id": "7"'))
    for ended in (
        launch("job.yaml", "--rank-table", str(table)),
        launch("job.yaml", RANK_TABLE_FILE=str(table)),
    ):
        assert (ended.returncode, ended.stdout) == (2, "")
        assert ended.stderr.startswith(f"error: {table}")
        assert "server_list[0].device[1].rank_id" in ended.stderr
        assert "Traceback" not in ended.stderr
    assert not (tmp_path / "runs").exists()


def test_table_without_npus(launch: Launch, tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_text("a: 1\n")
    ended = launch("job.yaml", "--rank-table", str(TABLES / "2p.json"))
    assert ended.returncode == 2
    assert "a rank table is for NPUs, and there is none here" in ended.stderr
    assert ended.stderr.count("\n") == 1


DRIVER = """
import sys
from pathlib import Path
import launch.run
from launch.job import Job
from launch.plan.machine import Machine
launch.run.this_machine = lambda: Machine((4, 5), ((0,),))
worker = [sys.executable, "-c", "import os, sys; print(*(os.environ.get(n) for n in "
          "('RANK_ID', 'RANK_SIZE', 'DEVICE_ID', 'RANK_TABLE_FILE', 'MS_ROLE')), file=sys.stderr)"]
sys.exit(launch.run.run_job(Job(worker, Path(sys.argv[1]), rank_table=Path(sys.argv[2]))))
"""


def test_modelarts_table_is_converted_beside_the_logs(tmp_path: Path) -> None:
    """Real processes; only the NPUs of the machine are not real."""
    instance = {
        "pod_name": "job-0",
        "server_id": "127.0.0.1",
        "devices": [{"device_id": str(n), "device_ip": f"192.1.0.{n}"} for n in (4, 5)],
    }
    group = {
        "group_name": "job",
        "device_count": "2",
        "instance_count": "1",
        "instance_list": [instance],
    }
    config = tmp_path / "user" / "config"
    config.mkdir(parents=True)
    (config / "jobstart_hccl.json").write_text(
        json.dumps({"status": "completed", "group_count": "1", "group_list": [group]})
    )
    command = [sys.executable, "-c", DRIVER, str(tmp_path / "run"), str(config)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0, ended.stderr
    logs = tmp_path / "run/logs/attempt_0"
    table = logs / "rank_table_0.json"
    assert json.loads(table.read_text())["version"] == "1.0"
    for rank in (0, 1):
        log = (logs / f"worker_{rank}.log").read_text()
        assert log == f"{rank} 2 {rank} {table} None\n"
    assert not (logs / "scheduler.log").exists()

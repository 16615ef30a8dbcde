"""Which place in a job this machine has, with and without a rank table."""

import json
import os
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
from tests.launch.checkout import ON_PAPER
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
    workers = processes if ranks == 1 else processes[1:]
    assert [process.rank for process in workers] == list(range(ranks))
    if ranks > 1:
        assert processes[0].variables["MS_ROLE"] == "MS_SCHED"
    for process in workers:
        assert process.variables["RANK_SIZE"] == str(ranks)
        assert process.variables.get("MS_ROLE") == (None if ranks == 1 else "MS_WORKER")


def test_two_servers() -> None:
    options = {"rank_table": TABLES / "2x8p.json", "node_rank": 1}
    place = placement_of(job(**options), NPUS8)
    assert (place.nnodes, place.node, place.nproc) == (2, 1, 8)
    assert place.master == place.nodes[0].host
    scheduler, *workers = plan_job(job(**options), NPUS8)
    assert (scheduler.rank, scheduler.host) == (None, place.master)
    assert [p.rank for p in workers] == list(range(16))
    assert [p.variables["DEVICE_ID"] for p in workers] == [str(n) for n in range(8)] * 2
    assert [p.host for p in workers[::8]] == [node.host for node in place.nodes]
    assert {p.variables["MS_SCHED_HOST"] for p in workers} == {place.master}


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
    assert placement_of(job(rank_table=table), machine).this_node(0).devices == (1, 3)
    _, *workers = plan_job(job(rank_table=table), machine)
    assert [p.variables["DEVICE_ID"] for p in workers] == ["1", "3"]


def test_a_launcher_for_every_rank(tmp_path: Path) -> None:
    """Each sees its own NPU alone, as some sites do it, or all of its server."""
    table = table_for(tmp_path, {"10.0.0.1": [4, 5], "10.0.0.2": [6, 7]})
    for npus, device, before in (((7,), 0, 0), ((4, 5, 6, 7), 3, 2)):
        place = placement_of(job(rank_table=table, rank=3), Machine(npus, ((0, 1),)))
        assert (place.nnodes, place.node, place.nproc, place.master) == (4, 3, 1, "10.0.0.1")
        node = place.this_node(3)
        assert (node.first_rank, node.devices) == (3, (device,))
        assert (node.before, node.after) == ((before,), ())
    scheduler, *workers = plan_job(job(rank_table=table, rank=0), Machine((4, 5, 6, 7), ((0,),)))
    assert scheduler.host == "10.0.0.1"
    assert [w.rank for w in workers] == [0, 1, 2, 3]
    assert [w.variables["DEVICE_ID"] for w in workers] == ["0", "1", "2", "3"]


def test_table_of_another_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK_SIZE", "4")
    table = table_for(tmp_path, {"127.0.0.1": [0, 1]})
    with pytest.raises(UserError, match="has 2 ranks, but RANK_SIZE is 4"):
        placement_of(job(rank_table=table, rank=1), NPUS8)
    monkeypatch.setenv("RANK_SIZE", "2")
    assert placement_of(job(rank_table=table, rank=1), NPUS8).node == 1


def test_two_jobs_of_one_server_meet_at_different_ports(tmp_path: Path) -> None:
    ports = []
    for devices in ([0, 1], [2, 3]):
        table = table_for(tmp_path, {"127.0.0.1": devices})
        ports.append(placement_of(job(rank_table=table, rank=1), NPUS8).meeting_port)
    assert ports[0] != ports[1]


def test_all_launchers_of_a_table_meet_at_one_port(tmp_path: Path) -> None:
    """Whatever devices are their own."""
    table = table_for(tmp_path, {"127.0.0.1": [4, 5], "10.255.255.1": [6, 7]})
    options = [*({"rank": rank} for rank in range(4)), *({"node_rank": node} for node in (0, 1))]
    places = [placement_of(job(rank_table=table, **one), NPUS8) for one in options]
    assert len({place.meeting_port for place in places}) == 1


def test_table_without_hosts_needs_the_master(tmp_path: Path) -> None:
    ranks = [
        {
            "rank_id": n, "local_id": n, "device_id": n,
            "level_list": [{
                "net_layer": 0, "net_instance_id": "superpod1", "net_type": "CLOS", "net_attr": "",
                "rank_addr_list": [{"addr_type": "IPv4", "addr": f"10.0.0.{n}", "ports": ["0"]}],
            }],
        }
        for n in (0, 1)
    ]  # fmt: skip
    table = tmp_path / "table.json"
    tree = {"version": "2.0", "status": "completed", "rank_count": 2, "rank_list": ranks}
    table.write_text(json.dumps(tree))
    with pytest.raises(UserError, match=r"version 2\.0 names no hosts: give --master"):
        placement_of(job(rank_table=table, rank=1), NPUS8)
    assert placement_of(job(rank_table=table, rank=1, master="a"), NPUS8).master == "a"


@pytest.mark.parametrize(
    ("servers", "options", "named"),
    [
        ({"127.0.0.1": [0, 9]}, {}, "device_id 9 is not among the NPUs that can be seen here"),
        ({"10.0.0.9": [0, 1], "127.0.0.1": [9]}, {}, "server 127.0.0.1: device_id 9 is not"),
        ({"127.0.0.1": [0, 1]}, {"nproc": 3}, "has 2 devices, but nproc is 3"),
        ({"127.0.0.1": [0, 1]}, {"nnodes": 2, "node_rank": 0}, "has 1 servers, but --nnodes is 2"),
        ({"10.255.255.1": [0], "10.255.255.2": [0]}, {}, "give --node-rank"),
        ({"127.0.0.1": [0], "10.255.255.2": [0]}, {"node_rank": 2}, "--node-rank is 2"),
        ({"127.0.0.1": [0, 9]}, {"rank": 1}, "device_id 9 is not among the NPUs"),
        ({"127.0.0.1": [0, 1]}, {"rank": 2}, "has 2 ranks, but RANK_ID is 2"),
        ({"127.0.0.1": [0, 1]}, {"rank": 1, "nproc": 2}, "or unset RANK_ID to start all of a node"),
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
    (tmp_path / "job.yaml").write_text(ON_PAPER)
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
    (tmp_path / "job.yaml").write_text(ON_PAPER)
    ended = launch("job.yaml", "--rank-table", str(TABLES / "2p.json"))
    assert ended.returncode == 2
    assert "a rank table is for NPUs, and there is none here" in ended.stderr
    assert ended.stderr.count("\n") == 1


# Prints what the environment says of its place.
PLACE = """
import os, sys
names = ("RANK_ID", "RANK_SIZE", "DEVICE_ID", "MS_ROLE", "MS_NODE_ID", "MS_SCHED_PORT")
print(*(os.environ.get(name) for name in names), *sorted(
    name for name in os.environ if "TABLE" in name or "HCCL_CONFIG" in name), file=sys.stderr)
"""
DRIVER = f"""
import sys
from pathlib import Path
import launch.run
from launch.job import Job
from launch.plan.machine import Machine
launch.run.this_machine = lambda: Machine((4, 5), ((0,),))
rank = int(sys.argv[3]) if sys.argv[3:] else None
sys.exit(launch.run.run_job(Job(
    [sys.executable, "-c", {PLACE!r}], Path(sys.argv[1]), rank_table=Path(sys.argv[2]), rank=rank,
    scheduler_command=[sys.executable, "-c", {PLACE!r}],
)))
"""


@pytest.fixture
def modelarts_table(tmp_path: Path) -> Path:
    """The folder with the table that ModelArts writes, for NPUs 4 and 5 of this machine."""
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
    tree = {"status": "completed", "group_count": "1", "group_list": [group]}
    (config / "jobstart_hccl.json").write_text(json.dumps(tree))
    return config


@pytest.mark.parametrize("launchers", [[()], [("0",), ("1",)]], ids=["of a node", "of every rank"])
def test_table_places_the_ranks_of_a_dynamic_cluster(
    tmp_path: Path, modelarts_table: Path, launchers: list[tuple[str, ...]]
) -> None:
    """Real processes; only the NPUs of the machine are not real. No process sees the table."""
    exported = {
        "RANK_TABLE_FILE": str(modelarts_table),
        "MINDSPORE_HCCL_CONFIG_PATH": str(modelarts_table),
        "MTLN_JOB_ID": str(os.getpid()),
    }
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", DRIVER, str(tmp_path / "run"), str(modelarts_table), *rank],
            cwd=ROOT,
            env={**os.environ, **exported},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in launchers
    ]
    for process in processes:
        _, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
    logs = tmp_path / "run/logs/attempt_0"
    scheduler, *workers = (
        (logs / name).read_text().split()
        for name in ("scheduler.log", *map("worker_{}.log".format, (0, 1)))
    )
    port = scheduler[5]
    assert scheduler == ["None", "None", "None", "MS_SCHED", "None", port]
    for rank, worker in enumerate(workers):
        assert worker == [str(rank), "2", str(rank), "MS_WORKER", str(rank), port]

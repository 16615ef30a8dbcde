"""The parts of a job that grow with it, at their full size and without devices.

Each function is run in a process of its own by tests/scale/test_scale.py, and returns what came of
it.
"""

import contextlib
import io
import json
import multiprocessing
import resource
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from launch.__main__ import main
from launch.job import Job
from launch.nodes.member_links import MemberLinks, command_of
from launch.plan import ports
from launch.plan.machine import this_machine
from launch.plan.placement import Placement
from launch.supervisor.child_process import Signals
from rank_tables import load
from rank_tables.generate import table_of_server
from rank_tables.load import check, parse
from rank_tables.merge import merge
from train.config.reader import dump_config, load_config
from train.data.manifest import Listing, Manifest, RecordSet, Shard, Split
from train.data.sampler import TrainStream, evaluation_records, split_shares

NODES, DEVICES = 1024, 8
RANKS = NODES * DEVICES
TASKS = 1000
RECORDS = 10**9
SHARDS = 10_000
# Files that a process may have open at a time, unless it asks for more.
_USUAL_FILES = 1024
# Images of a rank and steps of an interval in the plan; any rank will do.
_IMAGES, _STEPS, _RANK = 16, 50, 4095

Found = dict[str, Any]


def measured(exercise: Callable[..., Found], *arguments: object) -> tuple[Found, float]:
    """Run one; return what came of it, and the process's peak of resident memory in MB."""
    found = exercise(*arguments)
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    peak = next(line for line in lines if line.startswith("VmHWM:"))
    return found, int(peak.split()[1]) * 1024 / 1e6


def rank_table(file: Path) -> Found:
    """Generate the table of every server, merge them into a file, and check and load the whole."""
    servers = [
        parse(
            Path(f"{server}.json"),
            table_of_server(_host(server), list(range(DEVICES)), _addresses(server)),
        )
        for server in range(NODES)
    ]
    document = parse(file, merge(servers))
    file.write_text(document.text, encoding="utf-8")
    return {**_size_of(file), "violations": len(check(document).violations)}


def modelarts_table(folder: Path) -> Found:
    """Convert ModelArts' description of a job."""
    pods = [
        {
            "pod_name": f"job-worker-{server}",
            "server_id": _host(server),
            "devices": [
                {"device_id": str(device), "device_ip": address}
                for device, address in enumerate(_addresses(server))
            ],
        }
        for server in range(NODES)
    ]
    group = {
        "group_name": "worker",
        "device_count": str(RANKS),
        "instance_count": str(NODES),
        "instance_list": pods,
    }
    given, converted = folder / "jobstart_hccl.json", folder / "converted.json"
    tree = {"status": "completed", "group_count": "1", "group_list": [group]}
    given.write_text(json.dumps(tree), encoding="utf-8")
    converted.write_text(load(given).to_json(), encoding="utf-8")
    return _size_of(converted)


def dry_run(folder: Path, *options: str) -> Found:
    """Plan a job of many tasks with the launcher."""
    words = [str(_configuration(folder)), f"run_dir={folder / 'run'}", *options]
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        code = main([*words, "--dry-run", "--format", "json"])
    processes = json.loads(printed.getvalue())["processes"] if code == 0 else []
    ranks = {process["rank"] for process in processes} - {None}
    hosts = {process["host"] for process in processes}
    return {"code": code, "ranks": len(ranks), "hosts": len(hosts)}


class _Impatient(Signals):
    """Waits a tenth as long: between two looks a socket takes a few callers only."""

    def wait(self, seconds: float) -> int | None:
        return super().wait(seconds / 10)


def meeting(folder: Path) -> Found:
    """Bring the launchers of all nodes together at node 0, with the usual limit of open files."""
    port = ports.choose("127.0.0.1", None)
    job = Job(["python"], folder, DEVICES, control_port=port, node_timeout=300)
    callers = multiprocessing.get_context("fork").Process(
        target=_call, args=(port, command_of(job)), daemon=True
    )
    callers.start()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (_USUAL_FILES, most))
    quiet = contextlib.redirect_stdout(io.StringIO())
    with (
        quiet,
        _Impatient() as signals,
        MemberLinks(Placement(job, this_machine(), NODES, 0, DEVICES, "127.0.0.1")) as members,
    ):
        members.gather(signals)
        found = {"nodes": len(members.all) + 1, "open": sum(m.channel.is_open for m in members.all)}
    callers.terminate()
    return found


def _call(port: int, command: str) -> None:
    """Play the launchers of all nodes but the first, until it is ended."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    ends: list[socket.socket] = []
    while len(ends) < NODES - 1:
        hello = {"node": len(ends) + 1, "nnodes": NODES, "nproc": DEVICES, "host": "node"}
        try:
            ends.append(socket.create_connection(("127.0.0.1", port)))
        except ConnectionRefusedError:  # node 0 does not listen yet
            time.sleep(0.05)
            continue
        ends[-1].sendall(
            json.dumps({"kind": "hello", "command": command, **hello}).encode() + b"\n"
        )
    time.sleep(600)


def configuration(folder: Path) -> Found:
    """Read, check and write a configuration of many tasks."""
    config = load_config(_configuration(folder))
    return {
        "tasks": len(config.tasks),
        "lines": dump_config(config).count("records: s3://bucket/set"),
    }


def shares() -> Found:
    """Divide the mixed batch of all ranks among many data sets of different sizes."""
    records = {f"set{i}": 1000 + i for i in range(TASKS)}
    found = split_shares("proportional", records, RANKS * TASKS)
    return {"images": sum(found.values()), "datasets": len(found)}


def plan() -> Found:
    """Plan an interval of steps of one rank, in the middle of a large data set's first pass."""
    stream = TrainStream("large", RECORDS, _IMAGES * RANKS, seed=1)
    first = RECORDS // stream.images_per_step // 2
    records = stream.records(first, first + _STEPS, _RANK, RANKS)
    return {"records": records.size, "different": len(set(records.ravel().tolist()))}


def evaluation() -> Found:
    """Find one rank's share of an evaluation."""
    return {"records": len(evaluation_records(RECORDS, _RANK, RANKS))}


def manifest(folder: Path) -> Found:
    """Write, read and search the manifest of a data set of many shards."""
    each = RECORDS // SHARDS
    files = tuple(
        Shard(f"train.mindrecord{i}", each, 10**9, "0" * 64, 10**7, "0" * 64) for i in range(SHARDS)
    )
    image = {"format": "jpeg", "size": 64, "quality": 90, "height": [64, 64], "width": [64, 64]}
    split = Split(RECORDS, (RECORDS,), files)
    half = (0.5, 0.5, 0.5)
    whole = Manifest("large", ("one",), image, half, half, {"train": split}, Listing(0, ""), {}, "")
    whole.write(folder)
    found = RecordSet("large", folder, Manifest.read_alone(folder))
    numbers = [numbers for _, numbers in found.shards("train")]
    last = max(own.stop for own in numbers)
    return {"records": found.num_records("train"), "shards": len(numbers), "last": last}


def _host(server: int) -> str:
    return f"10.200.{server // 250}.{server % 250 + 1}"


def _addresses(server: int) -> list[str]:
    return [f"10.{device}.{server // 250}.{server % 250 + 1}" for device in range(DEVICES)]


def _size_of(file: Path) -> Found:
    table = load(file)
    return {"servers": len(table.servers), "ranks": len(table.devices)}


def _configuration(folder: Path) -> Path:
    file = folder / "job.yaml"
    # Records in object storage are not looked for before the start.
    names = {f"set{i}": {"records": f"s3://bucket/set{i}"} for i in range(TASKS)}
    tree = {"datasets": names, "schedule": {"steps": 1000}, "batch": {"images_per_task": RANKS}}
    file.write_text(yaml.safe_dump(tree), encoding="utf-8")
    return file

"""Worker: the parts of a job that grow with it, at their full size and without devices.

``python -m tools.plan_scale.exercises NAME FOLDER`` runs one and prints a JSON object: what came of
it, seconds, and the peak of the process's memory.
"""

from __future__ import annotations

import contextlib
import io
import json
import multiprocessing
import resource
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

NODES, DEVICES = 1024, 8
RANKS = NODES * DEVICES
TASKS = 1000
RECORDS = 10**9
SHARDS = 10_000
# Files that a process may have open at a time, unless it asks for more.
_USUAL_FILES = 1024
# Images of a rank and steps of a stretch in the exercise of the plan; any rank will do.
_IMAGES, _STEPS, _RANK = 16, 50, 4095

Found = dict[str, Any]


def rank_tables(folder: Path) -> Found:
    """The table of every server, their merging, and the check of the whole."""
    from rank_tables.generate import table_of_server
    from rank_tables.merge import merge
    from rank_tables.parse import parse
    from rank_tables.rules import check

    servers = [
        parse(
            Path(f"{server}.json"),
            table_of_server(_host(server), list(range(DEVICES)), _addresses(server)),
        )
        for server in range(NODES)
    ]
    document = parse(Path("table.json"), merge(servers))
    violations = check(document).violations
    return {**_ranks_of(folder, document.text), "violations": len(violations)}


def modelarts_table(folder: Path) -> Found:
    """ModelArts' description of a job, converted."""
    from rank_tables import load

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
    file = folder / "jobstart_hccl.json"
    tree = {"status": "completed", "group_count": "1", "group_list": [group]}
    file.write_text(json.dumps(tree), encoding="utf-8")
    return _ranks_of(folder, load(file).to_json())


def dry_run_with_table(folder: Path) -> Found:
    """The launcher's plan of a job with a rank table."""
    from rank_tables.generate import table_of_server
    from rank_tables.merge import merge
    from rank_tables.parse import parse

    one = [
        parse(Path(f"{n}.json"), table_of_server(_host(n), list(range(DEVICES)), _addresses(n)))
        for n in range(NODES)
    ]
    table = folder / "table.json"
    table.write_text(merge(one), encoding="utf-8")
    return _dry_run(folder, "--rank-table", str(table), "--node-rank", "5")


def dry_run(folder: Path) -> Found:
    """The launcher's plan of a job that MindSpore's scheduler brings together."""
    nodes = ("--nnodes", str(NODES), "--node-rank", "5", "--master", "192.0.2.1")
    return _dry_run(folder, *nodes, "--nproc", str(DEVICES))


def meeting(folder: Path) -> Found:
    """The launchers of all nodes come together at node 0, with the usual limit of open files."""
    from launch.job import Job
    from launch.nodes.member_links import MemberLinks, command_of
    from launch.plan import ports
    from launch.plan.machine import this_machine
    from launch.plan.placement import Placement
    from launch.supervisor.signals import Signals

    port = ports.choose("127.0.0.1", None)
    job = Job(["python"], folder, DEVICES, control_port=port, node_timeout=300)
    callers = multiprocessing.get_context("fork").Process(
        target=_call, args=(port, list(command_of(job))), daemon=True
    )
    callers.start()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (_USUAL_FILES, most))
    quiet = contextlib.redirect_stdout(io.StringIO())
    place = Placement(job, this_machine(), NODES, 0, DEVICES, "127.0.0.1")
    with quiet, Signals() as signals, MemberLinks(place) as members:
        members.gather(signals)
        found = {"nodes": len(members.all) + 1, "open": sum(m.channel.is_open for m in members.all)}
    callers.terminate()
    return found


def _call(port: int, command: list[str]) -> None:
    """Plays the launchers of all nodes but the first, until it is ended."""
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
    """A configuration of many tasks, read, checked and written."""
    from train.config.reader import dump_config, load_config

    config = load_config(_configuration(folder, TASKS))
    return {"tasks": len(config.tasks), "bytes": len(dump_config(config))}


def shares(folder: Path) -> Found:
    """The mixed batch of all ranks, divided among many data sets of different sizes."""
    from train.data.sampler import split_shares

    records = {f"set{i}": 1000 + i for i in range(TASKS)}
    found = split_shares("proportional", records, RANKS * TASKS)
    return {"images": sum(found.values()), "least": min(found.values())}


def plan(folder: Path) -> Found:
    """A stretch of steps of one rank, from the middle of a large data set's first pass."""
    from train.data.sampler import TrainStream

    stream = TrainStream("large", RECORDS, _IMAGES * RANKS, seed=1)
    first = RECORDS // stream.images_per_step // 2
    records = stream.records(first, first + _STEPS, _RANK, RANKS)
    return {"records": records.size, "different": len(set(records.ravel().tolist()))}


def evaluation(folder: Path) -> Found:
    """One rank's share of an evaluation."""
    from train.data.sampler import evaluation_records

    return {"records": len(evaluation_records(RECORDS, _RANK, RANKS))}


def manifest(folder: Path) -> Found:
    """The manifest of a data set of many shards, written, read and searched."""
    from train.data.record_set import RecordSet
    from train.data.records import Listing, Manifest, Shard, Split

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
    last = max(numbers.stop for _, numbers in found.shards("train"))
    return {"records": found.num_records("train"), "shards": SHARDS, "last": last}


EXERCISES: dict[str, Callable[[Path], Found]] = {
    "rank tables: generate, merge, validate": rank_tables,
    "rank tables: convert ModelArts' form": modelarts_table,
    "launch --dry-run with a rank table": dry_run_with_table,
    "launch --dry-run without one": dry_run,
    "launchers of all nodes meet": meeting,
    "configuration of 1,000 tasks": configuration,
    "shares of the mixed batch": shares,
    "plan of 50 steps of a rank": plan,
    "evaluation: records of a rank": evaluation,
    "manifest of 10,000 shards": manifest,
}


def _host(server: int) -> str:
    return f"10.200.{server // 250}.{server % 250 + 1}"


def _addresses(server: int) -> list[str]:
    return [f"10.{device}.{server // 250}.{server % 250 + 1}" for device in range(DEVICES)]


def _ranks_of(folder: Path, text: str) -> Found:
    from rank_tables import load

    file = folder / "whole.json"
    file.write_text(text, encoding="utf-8")
    table = load(file)
    return {"servers": len(table.servers), "ranks": len(table.devices), "bytes": len(text)}


def _configuration(folder: Path, tasks: int) -> Path:
    import yaml

    file = folder / "job.yaml"
    names = {f"set{i}": {"records": f"data/set{i}"} for i in range(tasks)}
    tree = {"datasets": names, "schedule": {"steps": 1000}, "batch": {"images_per_task": RANKS}}
    file.write_text(yaml.safe_dump(tree), encoding="utf-8")
    return file


def _dry_run(folder: Path, *options: str) -> Found:
    from launch.__main__ import main

    run_dir = f"run_dir={folder / 'run'}"
    words = [str(_configuration(folder, TASKS)), run_dir, *options, "--dry-run", "--format", "json"]
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        code = main(words)
    processes = json.loads(printed.getvalue())["processes"] if code == 0 else []
    ranks = {process["rank"] for process in processes} - {None}
    hosts = {process["host"] for process in processes}
    return {"code": code, "ranks": len(ranks), "hosts": len(hosts)}


def _peak_megabytes() -> float:
    """The largest resident memory of this process so far ("VmHWM"); Linux only."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    found = next(line for line in lines if line.startswith("VmHWM:"))
    return int(found.split()[1]) * 1024 / 1e6


if __name__ == "__main__":
    since = time.perf_counter()
    result = EXERCISES[sys.argv[1]](Path(sys.argv[2]))
    seconds = time.perf_counter() - since
    print(json.dumps({"found": result, "seconds": seconds, "megabytes": _peak_megabytes()}))

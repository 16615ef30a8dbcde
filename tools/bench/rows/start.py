"""From the user's command to the first step: two ranks, the quick start's data."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from tools.bench.cases import Case, Comparison, Goal
from tools.bench.group import ROOT, WorkerFailed, handed_on, last_line, mpirun_is_there
from tools.bench.pictures import run_tool
from tools.bench.session import NO_MPI, Session

TITLE = "command to first step, 2 ranks"

_CONFIG = Path("configs", "quickstart.yaml")
_RANKS = 2
_SCRIPTS = {"launch/run_distribute_8p.sh": "shared memory", "launch/run_mpi.sh": "MPI"}
_FIRST, _NEW, _AGAIN = "first start", "new run folder", "started again"
_LONGEST = 600.0
_SECONDS_TO_STOP = 60.0
_PICTURES_PER_CLASS = 30


def measure(session: Session) -> Iterator[Case]:
    """A case per script."""
    data = session.folder / "demo"
    run_tool("demo-data", "--out", str(data), "--images-per-class", str(_PICTURES_PER_CLASS))
    for script, engine in _SCRIPTS.items():
        session.say(f"start: {script}")
        yield _case(session, data, script, engine)


def _case(session: Session, data: Path, script: str, engine: str) -> Case:
    model = "WRN-10-1" if session.quick else "WRN-16-2"
    case = Case(
        f"{model}, 48 px, {script} ({engine})",
        "s",
        comparisons=[
            Comparison("first run with these settings", _FIRST, form="value"),
            Comparison("the same in a new run folder", _NEW, goal=Goal("<", 8.0), form="value"),
            Comparison("the same command again", _AGAIN, goal=Goal("<", 8.0), form="value"),
        ],
    )
    if engine == "MPI" and not mpirun_is_there():
        case.missing = dict.fromkeys((_FIRST, _NEW, _AGAIN), NO_MPI)
        return case
    case.series = {_FIRST: [], _NEW: [], _AGAIN: []}
    for number in range(session.rounds):
        folder = session.folder / f"{engine}_{number}"
        for series, run in ((_FIRST, "one"), (_NEW, "other"), (_AGAIN, "other")):
            graphs = folder / "graphs"
            case.series[series].append(_start(session, data, script, folder / run, graphs))
        shown = ", ".join(f"{name} {values[-1]:.1f} s" for name, values in case.series.items())
        session.say(f"  round {number + 1}/{session.rounds}: {shown}")
    return case


def _start(session: Session, data: Path, script: str, run: Path, graphs: Path) -> float:
    """Seconds from the start of the script to the end of the first step that it trains."""
    depth, width = (10, 1) if session.quick else (16, 2)
    overrides = {
        "nproc": _RANKS,
        "run_dir": run,
        "data_root": data.parent,
        "model": json.dumps({"depth": depth, "width": width}),
        # Soon there is a consolidation point, at which it stops when it is told to.
        "schedule": json.dumps({"steps": 1000, "consolidate_every": 2}),
        "evaluate.every": 0,
        "checkpoint.every": 0,
        "log_every": 1,
        "image.stages": "[]",
    }
    names = ("demo_farmland", "demo_urban", "demo_coast")
    records = {name: {"records": f"{data.name}/records/{name}"} for name in names}
    words = [f"{key}={value}" for key, value in overrides.items()]
    words.append(f"datasets={json.dumps(records)}")
    with (session.folder / "start.log").open("w") as output:
        begin, since = time.perf_counter(), time.time()
        process = subprocess.Popen(
            ["bash", script, str(_CONFIG), *words],
            cwd=ROOT,
            env={**handed_on(os.environ), "MTLN_GRAPH_CACHE": str(graphs)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            while not _has_trained(run / "metrics.jsonl", since):
                seconds = time.perf_counter() - begin
                if process.poll() is not None or seconds > _LONGEST:
                    raise WorkerFailed(f"{script}: no step: {last_line(Path(output.name))}")
                time.sleep(0.03)
            return time.perf_counter() - begin
        finally:
            _stop(process)


def _has_trained(log: Path, since: float) -> bool:
    """Whether a run's metrics have a line about training that is newer than a time."""
    try:
        # What follows the last line end is still being written.
        lines = [json.loads(line) for line in log.read_text().split("\n")[:-1]]
    except OSError:
        return False
    return any(line["kind"] == "train" and line["time"] > since for line in lines)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Ends a run as its user would; it saves a checkpoint before."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(_SECONDS_TO_STOP)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

"""From the user's command to the first step: two ranks, the quick start's data."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from tools.bench.group import ROOT, WorkerFailed, handed_on, last_line, why_no_mpi
from tools.bench.results import Case, Comparison, Goal
from tools.bench.session import RANKS, Session, run_tool, say

_CONFIG = "configs/quickstart.yaml"
_SCRIPTS = {"launch/run_distribute_8p.sh": "shared memory", "launch/run_mpi.sh": "MPI"}
_FIRST, _NEW, _AGAIN = "first start", "new run folder", "started again"
_LONGEST = 600.0


def start(session: Session) -> Iterator[Case]:
    """Measure a case per script."""
    data = session.folder / "demo"
    run_tool("demo-data", "--out", str(data), "--images-per-class", "30")
    for script, engine in _SCRIPTS.items():
        yield _case(session, data, script, engine)


def _case(session: Session, data: Path, script: str, engine: str) -> Case:
    work = session.networks[0]
    case = Case(f"WRN-{work.depth}-{work.width}, 48 px, {script} ({engine})", "s")
    case.comparisons = [
        Comparison("first run with these settings", _FIRST, form="value"),
        Comparison("the same in a new run folder", _NEW, goal=Goal("<", 8.0), form="value"),
        Comparison("the same command again", _AGAIN, goal=Goal("<", 8.0), form="value"),
    ]
    if why := why_no_mpi(engine):
        case.missing = dict.fromkeys((_FIRST, _NEW, _AGAIN), why)
        return case
    say(f"  {case.name}")
    case.series = {_FIRST: [], _NEW: [], _AGAIN: []}
    for number in range(session.rounds):
        folder = session.folder / f"{engine}_{number}"
        for series, run in ((_FIRST, "one"), (_NEW, "other"), (_AGAIN, "other")):
            words = [script, _CONFIG, *_overrides(session, data, folder / run)]
            seconds = _start(words, folder / run / "metrics.jsonl", folder / "graphs")
            case.series[series].append(seconds)
        shown = ", ".join(f"{name} {values[-1]:.1f} s" for name, values in case.series.items())
        say(f"    round {number + 1}/{session.rounds}: {shown}")
    return case


def _overrides(session: Session, data: Path, run: Path) -> list[str]:
    work = session.networks[0]
    names = ("demo_farmland", "demo_urban", "demo_coast")
    sets = {name: {"records": f"{data.name}/records/{name}"} for name in names}
    return [
        *(f"nproc={RANKS}", f"run_dir={run}", f"data_root={data.parent}"),
        f"datasets={json.dumps(sets)}",
        f"model={json.dumps({'depth': work.depth, 'width': work.width})}",
        # Soon there is a consolidation point, at which it stops when it is told to.
        f"schedule={json.dumps({'steps': 1000, 'consolidate_every': 2})}",
        *("evaluate.every=0", "checkpoint.every=0", "log_every=1", "image.stages=[]"),
    ]


def _start(words: list[str], metrics: Path, graphs: Path) -> float:
    """Return the seconds from the start of a script to the end of the first step it trains."""
    log = graphs.parent.parent / "start.log"
    with log.open("w") as output:
        begin, since = time.perf_counter(), time.time()
        process = subprocess.Popen(
            ["bash", *words],
            cwd=ROOT,
            env={**handed_on(os.environ), "MTLN_GRAPH_CACHE": str(graphs)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            while not _has_trained(metrics, since):
                seconds = time.perf_counter() - begin
                if process.poll() is not None or seconds > _LONGEST:
                    raise WorkerFailed(f"{words[0]}: no step: {last_line(log)}")
                time.sleep(0.03)
            return time.perf_counter() - begin
        finally:
            # As its user would; it saves a checkpoint before.
            process.terminate()
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def _has_trained(metrics: Path, since: float) -> bool:
    """Return whether a run's metrics have a line about training that is newer than a time."""
    try:
        # What follows the last line end is still being written.
        lines = [json.loads(line) for line in metrics.read_text().split("\n")[:-1]]
    except OSError:
        return False
    return any(line["kind"] == "train" and line["time"] > since for line in lines)

"""A trained network asked for its answers: ours, PyTorch and onnxruntime, on the same cores."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tools.bench.group import ROOT, WorkerFailed, handed_on
from tools.bench.results import Case, Comparison, Goal
from tools.bench.session import RANKS, Peers, Session, Turns, run_tool
from tools.bench.workload import Workload

_SETS = ("demo_farmland", "demo_urban", "demo_coast")
_TORCH = {"PyTorch channels_last": False, "PyTorch channels_last, compiled": True}
_ONNX = "onnxruntime"
_IMAGES = 16
# Of the sums by which the answers are compared.
_TOLERANCE = 1e-3


def prediction(session: Session) -> Iterator[Case]:
    """Measure a case per network: one process with all cores, every picture seen once."""
    data = session.folder / "demo"
    run_tool("demo-data", "--out", str(data), "--images-per-class", "12")
    for number, work in enumerate(session.networks):
        yield _case(session, data, session.folder / f"network_{number}", work)


def _case(session: Session, data: Path, folder: Path, work: Workload) -> Case:
    name = (
        f"WRN-{work.depth}-{work.width}, {work.size} px, {len(_SETS)} tasks, batches of {_IMAGES}"
    )
    case = Case(name, "images/s", missing=session.without_torch(*_TORCH))
    for peer in (*_TORCH, _ONNX):
        case.comparisons.append(Comparison(f"ours / {peer}", "ours", peer, Goal(">=", 1.0)))
    spec: dict[str, Any] = _trained(data, folder, work)
    cores = [[core for [core] in session.cores(RANKS)]]
    with Peers(session, case) as peers:
        peers.start("ours", "predictors.Ours", spec, cores)
        peers.start(_ONNX, "predictors.Onnx", spec, cores)
        for peer, compiled in _TORCH.items():
            if peer not in case.missing:
                own = {**spec, "compiled": compiled}
                # What is compiled is compiled here.
                variables = {"TORCHINDUCTOR_CACHE_DIR": str(folder / "compiled")}
                options: dict[str, Any] = {"python": session.python, "variables": variables}
                peers.start(peer, "predictors.Torch", own, cores, **options)
        _require_equal({name: group.info[0]["answers"] for name, group in peers.groups.items()})
        case.series = session.interleave(
            {
                name: Turns(group, _IMAGES, session.seconds).rate
                for name, group in peers.groups.items()
            }
        )
    return case


def _trained(data: Path, folder: Path, work: Workload) -> dict[str, Any]:
    """Train for a few steps, export, and return what the peers are given."""
    folder.mkdir()
    config, run = folder / "network.yaml", folder / "run"
    tree = {
        "device": "CPU",
        "data_root": str(data / "records"),
        "datasets": {name: {"records": name} for name in _SETS},
        "image": {"size": work.size},
        "model": {"depth": work.depth, "width": work.width},
        "schedule": {"steps": 4, "consolidate_every": 4},
        "report": False,
        "run_dir": str(run),
    }
    config.write_text(json.dumps(tree))
    command = [sys.executable, "-m", "train", str(config)]
    environment = handed_on(os.environ)
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise WorkerFailed(f"train: {done.stderr.strip()}")
    for form in ("onnx", "torch"):
        options = ["--format", form, "--as", _SETS[0], "--out", str(folder / form)]
        run_tool("export", str(run), *options)
    shared = {"run": str(run), "seen_as": _SETS[0], "images": _IMAGES, "size": work.size}
    return {**shared, "onnx": str(folder / "onnx"), "torch": str(folder / "torch")}


def _require_equal(answers: dict[str, list[float]]) -> None:
    """Raise a WorkerFailed unless all have computed the same."""
    for name, sums in answers.items():
        if not np.allclose(sums, answers["ours"], atol=_TOLERANCE):
            raise WorkerFailed(f"{name} answers otherwise than ours: {sums}, {answers['ours']}")

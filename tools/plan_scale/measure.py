"""Measures the constants of this machine, and the jobs that the model has to predict from them.

What is fitted and what is predicted are different runs: compute per image comes from one rank with
other batch sizes, the contention from independent jobs side by side, the reduction from bare
messages of other sizes.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tools.plan_scale.processes import OtherLoad, run
from tools.plan_scale.start import ENGINES
from train.errors import UserError

FORMAT = "mtln-scale"
ALONE, SIDE_BY_SIDE = "alone", "side by side"

# WRN-16-2 at 48 px on three data sets.
_MODEL = {"depth": 16, "width": 2}
_SIZE = 48
# Images per data set, step and rank: the jobs with PREDICTED are not used to fit anything.
_SMALL, PREDICTED, _LARGE = 4, 8, 16
_STRETCHES = 4
# Steps at the beginning whose times do not count, and the number of steps of a job.
_WARM_UP = 4
_STEPS = 24
_IMAGES_PER_CLASS = 30
# Cores that other programs may use before the measurement is in doubt.
_CALM = 0.1
# With 4 ranks, two share a core.
_CORES = 2
_MODULES = dict(zip(ENGINES, ("launch.mpi", "launch"), strict=True))


@dataclass(frozen=True)
class Job:
    """One training job of the measurement.

    Attributes:
        kind: An engine, or :data:`ALONE` or :data:`SIDE_BY_SIDE` for jobs of one rank.
        ranks: Its ranks; of :data:`SIDE_BY_SIDE` the number of jobs.
        images: Images per data set, step and rank.
        branches: As in the configuration.
    """

    kind: str
    ranks: int
    images: int
    branches: str = "local"


# In this order: what is fitted (the first three), then what is predicted from it.
JOBS = (
    Job(ALONE, 1, _SMALL),
    Job(ALONE, 1, _LARGE),
    Job(SIDE_BY_SIDE, 2, _LARGE),
    Job(ALONE, 1, PREDICTED),
    *(Job(engine, ranks, PREDICTED) for engine in ENGINES for ranks in (2, 4)),
    Job("mpi", 2, PREDICTED, "allreduce"),
)


def measure(file: Path, jobs: Sequence[Job] = JOBS) -> None:
    """Runs everything and writes the file.

    Raises:
        UserError: A job failed, mpirun is missing, or the file cannot be written.
    """
    _check(file)
    with tempfile.TemporaryDirectory(prefix="plan-scale-") as name:
        folder = Path(name)
        _say("making images")
        images = ["demo-data", "--out", folder / "demo", "--images-per-class", _IMAGES_PER_CLASS]
        run([["-m", "tools", *images]], [_cores()], folder)
        others = OtherLoad()
        found: dict[str, Any] = {
            "format": FORMAT,
            "machine": _machine(),
            "network": {"model": _MODEL, "size": _SIZE},
            "reductions": [_reductions(e, n, folder) for e in ENGINES for n in (2, 4)],
            "jobs": [_job(job, folder) for job in jobs],
        }
    if (cores := others.cores()) > _CALM:
        _say(
            f"warning: other programs used {cores:.2f} cores meanwhile, so the times are theirs as "
            "well: measure again when the machine is calm"
        )
    found["cores_used_by_others"] = cores
    try:
        file.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise UserError(f"{file}: cannot be written: {error.strerror}") from None


def _check(file: Path) -> None:
    if not file.parent.is_dir():
        raise UserError(f"{file}: there is no folder {file.parent}")
    if shutil.which("mpirun") is None:
        raise UserError("mpirun is not on the PATH: measuring needs OpenMPI (openmpi-bin)")
    if len(_cores()) < _CORES:
        raise UserError("measuring needs 2 processor cores, and this process may use only one")


def _cores() -> list[int]:
    """The two cores of the measurement."""
    return sorted(os.sched_getaffinity(0))[:_CORES]


def _machine() -> dict[str, Any]:
    models = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        if line.startswith("model name")
    ]
    return {
        "processor": models[0] if models else platform.processor(),
        "cores": _CORES,
        "date": time.strftime("%Y-%m-%d"),
    }


def _reductions(engine: str, ranks: int, folder: Path) -> dict[str, Any]:
    _say(f"bare reductions, {engine}, {ranks} ranks")
    file = folder / f"reductions_{engine}_{ranks}.json"
    worker = [sys.executable, "-m", "tools.plan_scale.reductions", file]
    logs = folder / f"reductions_{engine}_{ranks}"
    words = ["-m", "tools.plan_scale.start", engine, ranks, logs, *worker]
    run([words], [_cores()], folder)
    times = json.loads(file.read_text(encoding="utf-8"))
    return {"engine": engine, "ranks": ranks, "seconds": times}


def _job(job: Job, folder: Path) -> dict[str, Any]:
    _say(f"training, {job.kind}, {job.ranks} rank(s), {job.images} images per task and rank")
    name = f"{job.kind}_{job.ranks}_{job.images}_{job.branches}".replace(" ", "_")
    if job.kind in ENGINES:
        runs = [folder / name]
        module, ranks, cores = _MODULES[job.kind], job.ranks, [_cores()]
    else:
        runs = [folder / f"{name}_{number}" for number in range(job.ranks)]
        module, ranks, cores = "launch", 1, [[core] for core in _cores()[: job.ranks]]
    config = _config(job, folder, job.images * ranks)
    run(
        [["-m", module, config, f"nproc={ranks}", f"run_dir={path}"] for path in runs],
        cores,
        folder,
    )
    summary = json.loads((runs[0] / "summary.json").read_text(encoding="utf-8"))
    return {
        "kind": job.kind,
        "ranks": job.ranks,
        "images_per_task": job.images,
        "tasks": len(summary["tasks"]),
        "branches": job.branches,
        "parameters": summary["parameters"],
        "bytes_reduced_per_step": summary["bytes_reduced_per_step"],
        "step_seconds": _together([path / "metrics.jsonl" for path in runs]),
    }


def _config(job: Job, folder: Path, images: int) -> Path:
    records = folder / "demo" / "records"
    tree = {
        "device": "CPU",
        "branches": job.branches,
        "datasets": {path.name: {"records": str(path)} for path in sorted(records.iterdir())},
        "batch": {"images_per_task": images},
        "image": {"size": _SIZE},
        "model": _MODEL,
        "optimizer": {"learning_rate": 0.01},
        "schedule": {"steps": _STEPS, "consolidate_every": _STEPS // _STRETCHES},
        "log_every": 1,
    }
    path = folder / "job.yaml"
    path.write_text(yaml.safe_dump(tree, sort_keys=False), encoding="utf-8")
    return path


def _together(files: Iterable[Path]) -> list[list[float]]:
    """Seconds of the steps of every job, only those during which all the jobs were training."""
    steps = [list(read_steps(file)) for file in files]
    first = max(times[0][0] for times in steps)
    last = min(times[-1][0] for times in steps)
    return [[s for end, s in times if first <= end - s and end <= last + s] for times in steps]


def read_steps(file: Path) -> list[tuple[float, float]]:
    """(Time of its end, seconds) of every step in a metrics.jsonl, without compiling and warm-up.

    The file must have a line for every step.
    """
    lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    train = [line for line in lines if line["kind"] == "train" and line["images_per_second"] > 0]
    images = train[0]["images"] / train[0]["step"]
    return [(line["time"], round(images / line["images_per_second"], 6)) for line in train][
        _WARM_UP:
    ]


def _say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)

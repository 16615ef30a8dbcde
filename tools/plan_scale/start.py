"""Starts a worker on several ranks of this machine, with either engine.

python -m tools.plan_scale.start ENGINE RANKS FOLDER WORD ...

ENGINE is ``mpi`` (OpenMPI's mpirun) or ``launcher`` (the project's own, shared memory); the
words are what every rank runs. Logs go to FOLDER/logs.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from launch.job import Job
from launch.log_folders import log_folder, next_attempt
from launch.mpi import mpirun
from launch.plan.machine import this_machine
from launch.run import run_job
from launch.supervisor.signals import Signals

ENGINES = ("mpi", "launcher")


def start(engine: str, ranks: int, folder: Path, worker: Sequence[str]) -> int:
    """Runs the worker to its end; the exit code."""
    job = Job(worker, folder, ranks)
    if engine == "launcher":
        return run_job(job)
    logs = log_folder(folder, next_attempt(folder))
    start = mpirun.plan(job, logs, this_machine(), os.environ)
    with Signals() as signals:
        return mpirun.run(start, job.grace, signals)


if __name__ == "__main__":
    sys.exit(start(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]), sys.argv[4:]))

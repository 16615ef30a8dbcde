"""Real jobs whose workers are small scripts in place of the training program."""

import os
import random
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.marked import Mark
from tests.paths import ROOT

# Every worker can note things for the test to read.
_WORKER_PREAMBLE = """\
import os, signal, subprocess, sys, time
from pathlib import Path
rank = int(os.environ["RANK_ID"])
notes = Path(os.environ["TEST_NOTES"])
def note(name, text=""):
    (notes / f"{name}.new").write_text(str(text))
    (notes / f"{name}.new").rename(notes / name)
"""

_DRIVER = """\
import sys
from pathlib import Path
from launch.job import Job
from launch.run import run_job
sys.exit(run_job(Job(**{{
    "worker_command": [sys.executable, {worker!r}],
    "scheduler_command": [sys.executable, "-c", {scheduler!r}],
    "run_dir": Path({run_dir!r}), **{options!r},
}})))
"""


class JobProcess(Mark):
    """A launcher as its own process, with a mark by which all it starts can be found."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder
        self.notes = folder / "notes"
        self.notes.mkdir(exist_ok=True)
        self.run_dir = folder / "run"
        self.process: subprocess.Popen[str]

    def start(
        self,
        worker: str,
        nproc: int = 2,
        grace: float = 10.0,
        scheduler: str = "import time; time.sleep(600)",
        **options: object,
    ) -> "JobProcess":
        """Starts a launcher; ``options`` are further ones of :class:`launch.job.Job`."""
        script = self.folder / "worker.py"
        script.write_text(_WORKER_PREAMBLE + textwrap.dedent(worker))
        driver = _DRIVER.format(
            worker=str(script),
            scheduler=textwrap.dedent(scheduler),
            run_dir=str(self.run_dir),
            options={"nproc": nproc, "grace": grace, **options},
        )
        self.process = subprocess.Popen(
            [sys.executable, "-c", driver],
            cwd=ROOT,
            env={**os.environ, **self.mark, "TEST_NOTES": str(self.notes)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        return self

    def finish(self, seconds: float = 60) -> tuple[int, str, str]:
        """Waits for the launcher's end: exit code, standard output, standard error."""
        out, err = self.process.communicate(timeout=seconds)
        return self.process.returncode, out, err

    def await_notes(self, *names: str, seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while not all((self.notes / name).exists() for name in names):
            assert time.monotonic() < deadline, f"no notes {names}"
            assert self.process.poll() is None, self.process.communicate()
            time.sleep(0.02)

    def clean_up(self) -> None:
        """Kills what is left."""
        self.kill_survivors()
        if hasattr(self, "process"):
            self.process.communicate()


@pytest.fixture
def job(tmp_path: Path) -> Iterator[JobProcess]:
    """A job to start; what is left of it after the test is killed."""
    job = JobProcess(tmp_path)
    yield job
    job.clean_up()


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[list[JobProcess]]:
    """The launchers of three nodes of one job, in one folder."""
    nodes = [JobProcess(tmp_path) for _ in range(3)]
    yield nodes
    for node in nodes:
        node.clean_up()


Launch = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def launch(tmp_path: Path) -> Launch:
    """Runs python -m launch in an empty folder."""

    def run(*arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "launch", *arguments],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT), **variables},
            capture_output=True,
            text=True,
            timeout=60,
        )

    return run


@pytest.fixture
def free_port() -> int:
    """A port that nobody listens on, with another free one after it."""
    while True:
        port = random.randint(20000, 31000)
        with socket.socket() as first, socket.socket() as second:
            try:
                first.bind(("", port))
                second.bind(("", port + 1))
            except OSError:
                continue
            return port

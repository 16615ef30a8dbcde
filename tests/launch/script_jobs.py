"""Real jobs whose workers are small scripts in place of the training program."""

import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.marked import Mark
from tests.paths import ROOT

# The fixture "launch": python -m launch in an empty folder.
Launch = Callable[..., "subprocess.CompletedProcess[str]"]

# Every worker can note things for the test to read.
_WORKER_PREAMBLE = """\
import os, signal, subprocess, sys, time
from pathlib import Path
from typing import Any
rank = int(os.environ["RANK_ID"])
notes = Path(os.environ["TEST_NOTES"])
def note(name, text=""):
    (notes / f"{name}.new").write_text(str(text))
    (notes / f"{name}.new").rename(notes / name)
"""

_DRIVER = """\
import sys
from pathlib import Path
from typing import Any
from launch.job import Job
from launch.run import run_job
sys.exit(run_job(Job(**{{
    "worker_command": [sys.executable, {worker!r}],
    "scheduler_command": [sys.executable, "-c", {scheduler!r}],
    "run_dir": Path({run_dir!r}), **{options!r},
}})))
"""


class ScriptJob(Mark):
    """A launcher as its own process, with a mark by which all it starts can be found."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder
        self.notes = folder / "notes"
        self.notes.mkdir(exist_ok=True)
        self.run_dir = folder / "run"
        self.process: subprocess.Popen[str]

    def start(self, worker: str, **options: Any) -> "ScriptJob":
        """Starts a launcher.

        Args:
            worker: Program of every rank.
            options: Those of :class:`launch.job.Job`, and ``scheduler``, a program.
        """
        scheduler = options.pop("scheduler", "import time; time.sleep(600)")
        script = self.folder / "worker.py"
        script.write_text(_WORKER_PREAMBLE + textwrap.dedent(worker))
        driver = _DRIVER.format(
            worker=str(script),
            scheduler=textwrap.dedent(scheduler),
            run_dir=str(self.run_dir),
            options={"nproc": 2, "grace": 10.0, **options},
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

    def read_line(self) -> str:
        """The next line of the launcher's standard output."""
        assert self.process.stdout
        return self.process.stdout.readline()

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

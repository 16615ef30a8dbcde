"""Processes that carry a mark by which all that they start can be found, also after they ended."""

import contextlib
import os
import shutil
import signal
import subprocess
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from tests.paths import ROOT

needs_open_mpi = pytest.mark.skipif(
    shutil.which("mpirun") is None or shutil.which("ompi_info") is None,
    reason="OpenMPI is not on this machine (Debian, Ubuntu: apt install openmpi-bin)",
)
# mpirun refuses to run as root without these; to other users they say nothing.
AS_ROOT = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}


class Mark:
    """A variable by which the processes that have it can be found, and those they start."""

    def __init__(self) -> None:
        self.mark = {"TEST_MARK": uuid.uuid4().hex}

    def survivors(self) -> list[int]:
        """Return the processes with the mark that still run (what has ended has no variables)."""
        wanted = f"TEST_MARK={self.mark['TEST_MARK']}".encode()
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                variables = (entry / "environ").read_bytes()
            except OSError:
                continue
            if wanted in variables.split(b"\0"):
                found.append(int(entry.name))
        return found

    def assert_all_gone(self, seconds: float = 60) -> None:
        """All that has the mark must have ended, or be ending."""
        deadline = time.monotonic() + seconds
        while left := self.survivors():
            assert time.monotonic() < deadline, f"still running: {left}"
            time.sleep(0.05)

    def kill_survivors(self) -> None:
        """Kill what is left."""
        for pid in self.survivors():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


class Marked(Mark):
    """A process started in the project's folder, its output caught.

    Args:
        command: What to run.
        variables: What its environment has on top of this process's.
    """

    def __init__(self, command: Sequence[object], variables: Mapping[str, str]) -> None:
        super().__init__()
        self.process = subprocess.Popen(
            [str(word) for word in command],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT), **variables, **self.mark},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def finish(self, seconds: float = 500) -> tuple[int, str, str]:
        """Wait for its end; return exit code, standard output, standard error."""
        out, err = self.process.communicate(timeout=seconds)
        return self.process.returncode, out, err

    def succeed(self) -> str:
        """Wait for its end, which must be a success; return its standard output."""
        code, out, err = self.finish()
        assert code == 0, f"exit code {code}\n{out}\n{err}"
        return out

    def wait_until(self, condition: Callable[[], bool], seconds: float = 400) -> None:
        """Wait until a condition holds, while the process must be running."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, "waited in vain"
            assert self.process.poll() is None, self.process.communicate()
            time.sleep(0.05)

    def clean_up(self) -> None:
        """Kill what is left."""
        self.kill_survivors()
        self.process.communicate()


StartMarked = Callable[..., Marked]

"""A job under the drill: the launcher and all that it starts, to be found, hit and waited for."""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tools.drill.phases import FOLDER

ROOT = Path(__file__).resolve().parents[2]
# Far more than anything takes here, also on a busy machine.
PATIENCE = 180.0
_LOOK_EVERY = 0.01
_TOLD = 400


# Loaded here: between fork and exec nothing but plain calls is safe.
_libc = ctypes.CDLL(None)


class NotSurvived(Exception):
    """What was found that must not be, in one line."""


@dataclass(frozen=True)
class Ended:
    """The end of a job.

    Attributes:
        code: Exit code as a shell reports it.
        out: Standard output.
        err: Standard error.
        time: When, in seconds of ``time.monotonic``.
    """

    code: int
    out: str
    err: str
    time: float


def processes(folder: Path) -> dict[int, dict[str, str]]:
    """Return all processes that work in a folder of the drill, with their variables.

    A process that has ended, and is not collected yet, has no variables.
    """
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            text = (entry / "environ").read_bytes().decode(errors="replace")
        except OSError:
            continue
        variables = dict(item.split("=", 1) for item in text.split("\0") if "=" in item)
        if variables.get(FOLDER) == str(folder):
            found[int(entry.name)] = variables
    return found


def kill_all(folder: Path) -> None:
    """Kill whatever works in a folder of the drill."""
    for pid in processes(folder):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _settle_in() -> None:
    """Have the kernel kill this process if the drill dies; take the signals that the drill may not.

    A drill under nohup or in the background of a script ignores HUP or INT, as would its jobs.
    """
    _libc.prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    for number in (signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)


class Job:
    """A launcher with its ranks.

    Args:
        arguments: Of the interpreter: ``-m launch ...``.
        folder: What the processes are found by; output is kept there.
        cwd: Where they run.
        variables: Their whole environment.
        prefix: A command in whose place the launcher is to run.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        folder: Path,
        cwd: Path,
        variables: Mapping[str, str],
        prefix: Sequence[str] = (),
    ) -> None:
        self.folder = folder
        number = len(list(folder.glob("job-*.out")))
        self._out, self._err = (folder / f"job-{number}.{end}" for end in ("out", "err"))
        path = [str(ROOT), *filter(None, [variables.get("PYTHONPATH")])]
        self.began = time.monotonic()
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                [*prefix, sys.executable, *arguments],
                cwd=cwd,
                env={**variables, FOLDER: str(folder), "PYTHONPATH": os.pathsep.join(path)},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
                preexec_fn=_settle_in,
            )

    def is_running(self) -> bool:
        """Return whether the launcher has not ended."""
        return self.process.poll() is None

    def pid(self, name: str) -> int:
        """Return the number of ``launcher``, ``scheduler`` or ``rank N``; 0 if it is not there."""
        if name == "launcher":
            return self.process.pid
        for pid, variables in processes(self.folder).items():
            # A process between fork and exec has the variables of the launcher still.
            is_scheduler = variables.get("MS_ROLE") == "MS_SCHED"
            own = "scheduler" if is_scheduler else f"rank {variables.get('MS_NODE_ID')}"
            if own == name:
                return pid
        return 0

    def send(self, name: str, number: signal.Signals) -> None:
        """Send a signal to one of its processes, or to ``all`` of them."""
        if name == "all":
            names = [n for n in ("scheduler", *self._ranks(), "launcher") if self.pid(n)]
        else:
            self.wait(lambda: self.pid(name) != 0, f"{name} has not started")
            names = [name]
        for one in names:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid(one), number)

    def wait(self, condition: Callable[[], bool], otherwise: str) -> None:
        """Wait until a condition holds; the job must be running.

        Raises:
            NotSurvived: It ends before, or it takes too long.
        """
        deadline = time.monotonic() + PATIENCE
        while not condition():
            if not self.is_running() and not condition():
                raise NotSurvived(f"{otherwise}: {self._told()}")
            if time.monotonic() > deadline:
                raise NotSurvived(f"{otherwise} within {PATIENCE:.0f} s")
            time.sleep(_LOOK_EVERY)

    def finish(self, seconds: float = PATIENCE) -> Ended:
        """Wait for the end.

        Raises:
            NotSurvived: It does not come.
        """
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise NotSurvived(f"the job has not ended within {seconds:.0f} s") from None
        ended = time.monotonic()
        out, err = (path.read_text(errors="replace") for path in (self._out, self._err))
        return Ended(code if code >= 0 else 128 - code, out, err, ended)

    def output(self) -> str:
        """Return what it has printed so far."""
        return "".join(path.read_text(errors="replace") for path in (self._out, self._err))

    def _ranks(self) -> list[str]:
        numbers = (v.get("MS_NODE_ID") for v in processes(self.folder).values())
        return sorted({f"rank {number}" for number in numbers if number is not None})

    def _told(self) -> str:
        ended = self.finish()
        text = " ".join((ended.err.strip() or ended.out.strip()).split())
        return f"the job ended with exit code {ended.code}: {text[-_TOLD:]}"

"""What a check says, and what it looks at."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from train.environment import npu_nodes

OK, WARN, FAIL = "ok", "warn", "fail"

# What to do about parts of the driver for NPUs that are missing.
IN_CONTAINER = "in a container: start it with launch/run_docker.sh ascend, which passes it"

_TOOL_SECONDS = 30


@dataclass(frozen=True)
class Finding:
    """The outcome of one check.

    Attributes:
        check: What was looked at.
        state: "ok", "warn" (training may work) or "fail" (it cannot).
        found: What was seen.
        remedy: What to do, where there is something to do.
    """

    check: str
    state: str
    found: str
    remedy: str = ""


def worse(bad: bool, check: str, found: str, remedy: str, state: str = WARN) -> Finding:
    """Return a finding of ``state`` with its remedy if ``bad``, else one that all is well."""
    return Finding(check, state, found, remedy) if bad else Finding(check, OK, found)


@dataclass(frozen=True)
class Machine:
    """What is looked at.

    Attributes:
        root: Where its file system is.
        environment: Variables of the process.
        wanted: Device as given by the user: "auto", "Ascend", "GPU" or "CPU".
    """

    root: Path
    environment: Mapping[str, str]
    wanted: str = "auto"

    def path(self, absolute: str) -> Path:
        """Return the path of a file of the machine."""
        return self.root / absolute.lstrip("/")

    @property
    def npus(self) -> tuple[int, ...]:
        """The N of all /dev/davinciN, ascending. There may be gaps."""
        return npu_nodes(self.path("/dev"))

    @property
    def device(self) -> str:
        """What a job would train on: "Ascend", "GPU" or "CPU"."""
        if self.wanted != "auto":
            return self.wanted
        return "Ascend" if self.npus else "CPU"


def output_of(
    command: Sequence[str],
    seconds: float = _TOOL_SECONDS,
    folder: Path | None = None,
    **variables: str,
) -> str:
    """Return what a program prints, on both streams.

    Args:
        command: The program and its arguments.
        seconds: How long it may take.
        folder: Where it runs (default: here).
        variables: What its environment has on top of this process's.

    Raises:
        OSError: It cannot be started.
        RuntimeError: It fails or takes too long; the message is the last line it printed.
    """
    try:
        ended = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            timeout=seconds,
            cwd=folder,
            env={**os.environ, **variables},
        )
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"no answer within {seconds:.0f} s") from None
    if ended.returncode:
        lines = [line for line in ended.stdout.splitlines() if line.strip()]
        raise RuntimeError(lines[-1].strip() if lines else f"exit code {ended.returncode}")
    return ended.stdout

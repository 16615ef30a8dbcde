"""What a check says, and what it looks at."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

OK, WARN, FAIL = "ok", "warn", "fail"
_TOOL_SECONDS = 30


@dataclass(frozen=True)
class Finding:
    """The outcome of one check.

    Attributes:
        check: what was looked at.
        state: "ok", "warn" (training may work) or "fail" (it cannot).
        found: what was seen.
        remedy: what to do, where there is something to do.
    """

    check: str
    state: str
    found: str
    remedy: str = ""


def worse(bad: bool, check: str, found: str, remedy: str, state: str = WARN) -> Finding:
    """Returns a finding of ``state`` with its remedy if ``bad``, else one that all is well."""
    return Finding(check, state, found, remedy) if bad else Finding(check, OK, found)


@dataclass(frozen=True)
class Machine:
    """What is looked at.

    Attributes:
        root: where its file system is.
        environment: variables of the process.
        wanted: device as given by the user: "auto", "Ascend", "GPU" or "CPU".
    """

    root: Path
    environment: Mapping[str, str]
    wanted: str = "auto"

    def path(self, absolute: str) -> Path:
        """Returns the path of a file of the machine."""
        return self.root / absolute.lstrip("/")

    @property
    def npus(self) -> list[int]:
        """The N of all /dev/davinciN, ascending. There may be gaps."""
        names = (path.name for path in self.path("/dev").glob("davinci*"))
        return sorted(int(found[1]) for n in names if (found := re.fullmatch(r"davinci(\d+)", n)))

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
    """Returns what a program prints, on both streams.

    Args:
        command: the program and its arguments.
        seconds: how long it may take.
        folder: where it runs (default: here).
        variables: what its environment has on top of this process's.

    Raises:
        OSError: it cannot be started.
        RuntimeError: it fails or takes too long; the message is the last line it printed.
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

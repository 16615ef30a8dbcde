"""Runs Python programs side by side on chosen cores, and notices what else the machine does."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from train.errors import UserError

_SECONDS = 900
_ROOT = Path(__file__).resolve().parents[2]


def run(programs: Sequence[Sequence[object]], cores: Sequence[Sequence[int]], folder: Path) -> None:
    """Runs programs at the same time to their end.

    Args:
        programs: Arguments of Python.
        cores: The cores that each of them may use.
        folder: What they print goes into files of it.

    Raises:
        UserError: One has failed, or does not end; the others are ended then.
    """
    files = [folder / f"output_{number}.txt" for number in range(len(programs))]
    started = [_start(*each) for each in zip(programs, cores, files, strict=True)]
    try:
        for process, words, file in zip(started, programs, files, strict=True):
            command = " ".join(map(str, words))
            try:
                code = process.wait(_SECONDS)
            except subprocess.TimeoutExpired:
                raise UserError(f"python {command}: not done after {_SECONDS} s") from None
            if code:
                lines = file.read_text(encoding="utf-8", errors="replace").split("\n")
                last = next((line for line in reversed(lines) if line.strip()), "")
                raise UserError(f"python {command}: ended with code {code}: {last}")
    finally:
        for process in started:
            process.terminate()
            process.wait()


def _start(words: Sequence[object], cores: Sequence[int], file: Path) -> subprocess.Popen[bytes]:
    with file.open("wb") as output:
        return subprocess.Popen(
            [sys.executable, *map(str, words)],
            cwd=_ROOT,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            preexec_fn=_pinning(cores),
        )


def _pinning(cores: Sequence[int]) -> Callable[[], None]:
    return lambda: os.sched_setaffinity(0, cores)


class OtherLoad:
    """The processor time that other programs use from now on."""

    def __init__(self) -> None:
        self._since = time.monotonic()
        self._busy, self._own = self._now()

    def cores(self) -> float:
        """Their mean number of busy cores."""
        busy, own = self._now()
        others = busy - self._busy - (own - self._own)
        return round(max(0.0, others) / (time.monotonic() - self._since), 3)

    def _now(self) -> tuple[float, float]:
        """Seconds in which the machine was busy, and those of this process and its ended ones."""
        fields = Path("/proc/stat").read_text(encoding="utf-8").splitlines()[0].split()[1:]
        user, nice, system, _, _, interrupts, soft = map(int, fields[:7])
        busy = (user + nice + system + interrupts + soft) / os.sysconf("SC_CLK_TCK")
        times = os.times()
        return busy, sum(times[:4])

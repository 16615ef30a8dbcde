"""What the rows of one command share: its options, its cores, its folder, its rounds."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from launch.plan.machine import allowed_cores
from tools.bench.group import Group, Starter

NO_TORCH = (
    "no torch here: pip install -r requirements-bench.txt into an environment of its own, and name "
    "its interpreter with --python"
)
# What connects several ranks of ours, as launch/run_distribute_8p.sh does.
OUR_STARTER: Starter = "launch"
NO_MPI = "no mpirun here (Debian, Ubuntu: apt install openmpi-bin)"


@dataclass
class Session:
    """One run of the command.

    Attributes:
        rounds: How often every peer has its turn.
        seconds: How long a turn takes about.
        quick: Whether sizes are tiny: to try the command out; its figures say nothing.
        python: The interpreter that has torch.
        folder: For data, and for a folder per peer; removed at the end.
        say: Tells how far the work is.
    """

    rounds: int
    seconds: float
    quick: bool
    python: str
    folder: Path
    say: Callable[[str], None]
    _started: int = 0

    def cores(self, number: int) -> list[int]:
        """The first cores of this process, those of one NUMA node before the next one's."""
        cores = [core for group in allowed_cores() for core in group]
        return [cores[i % len(cores)] for i in range(number)]

    def why_no_torch(self) -> str | None:
        """Why peers with torch cannot run; None if they can."""
        if self.python == sys.executable:
            found = importlib.util.find_spec("torch") is not None
        else:
            look = "import importlib.util; print(importlib.util.find_spec('torch') is not None)"
            try:
                done = subprocess.run([self.python, "-c", look], capture_output=True, check=False)
                found = done.stdout == b"True\n"
            except OSError as error:
                return f"--python {self.python}: cannot be started: {error.strerror}"
        return None if found else NO_TORCH

    def start(
        self,
        name: str,
        kind: str,
        spec: Mapping[str, Any],
        cores: Sequence[Sequence[int]],
        starter: Starter = "plain",
        python: str = sys.executable,
        variables: Mapping[str, str] | None = None,
    ) -> Group:
        """Starts a peer; see :class:`tools.bench.group.Group`."""
        self.say(f"  starting {name}")
        self._started += 1
        own = self.folder / str(self._started)
        own.mkdir()
        return Group(name, kind, spec, cores, own, starter, python, variables)

    def interleave(self, turns: Mapping[str, Callable[[], float]]) -> dict[str, list[float]]:
        """Gives every peer its turn in every round, in reversed order in every second one.

        What the machine does meanwhile then meets all of them, and a ratio of two values of one
        round depends on it little.
        """
        series: dict[str, list[float]] = {name: [] for name in turns}
        for number in range(self.rounds):
            names = list(turns)[:: -1 if number % 2 else 1]
            for name in names:
                series[name].append(turns[name]())
            shown = ", ".join(f"{name} {series[name][-1]:.4g}" for name in turns)
            self.say(f"  round {number + 1}/{self.rounds}: {shown}")
        return series


class Turns:
    """The turns of a group that trains: blocks of steps of about the same duration.

    Args:
        group: Its ranks.
        images: Images of all ranks in a step.
        seconds: Wanted duration of a block.
    """

    def __init__(self, group: Group, images: int, seconds: float) -> None:
        self.group = group
        self.images = images
        self.steps = 1
        self.steps = max(1, round(seconds / self.step_seconds()))

    def tell(self) -> None:
        """Starts a block."""
        self.group.tell("run", steps=self.steps)

    def duration(self) -> float:
        """Waits for its end: seconds of the slowest rank."""
        return max(float(answer["seconds"]) for answer in self.group.answers())

    def step_seconds(self) -> float:
        """Seconds of a step, mean of a block."""
        self.tell()
        return self.duration() / self.steps

    def rate(self) -> float:
        """Images per second of all ranks, mean of a block."""
        return self.images / self.step_seconds()

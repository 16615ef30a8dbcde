"""What the rows of one command share: its options, its cores, its folder, its rounds."""

import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from launch.plan.numa import allowed_cores
from tools.bench.group import ROOT, Group, WorkerFailed
from tools.bench.results import Case
from tools.bench.workload import NETWORKS, TINY, Workload

RANKS = 2

Series = dict[str, list[float]]
Turn = Callable[[], float]


def say(text: str) -> None:
    """Tell how far the work is."""
    print(text, file=sys.stderr, flush=True)


def run_tool(*words: str) -> None:
    """Run ``python -m tools`` in a process of its own.

    MindSpore changes the environment of a process that loads it, and peers would inherit that.

    Raises:
        WorkerFailed: It fails.
    """
    command = [sys.executable, "-m", "tools", *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise WorkerFailed(f"tools {words[0]}: {done.stderr.strip()}")


@dataclass
class Session:
    """One run of the command.

    Attributes:
        rounds: How often every peer has its turn.
        seconds: How long a turn takes about.
        quick: Whether sizes are tiny: to try the command out; its figures say nothing.
        python: The interpreter that has torch.
        folder: For data, and for a folder per peer; removed at the end.
    """

    rounds: int
    seconds: float
    quick: bool
    python: str
    folder: Path

    @property
    def networks(self) -> Sequence[Workload]:
        """What most rows train."""
        return (TINY,) if self.quick else NETWORKS

    def cores(self, ranks: int = RANKS) -> list[list[int]]:
        """Return a core for every rank, those of one NUMA node before the next one's."""
        cores = [core for group in allowed_cores() for core in group]
        return [[cores[i % len(cores)]] for i in range(ranks)]

    def without_torch(self, *peers: str) -> dict[str, str]:
        """Return these peers, each with why it cannot run; nothing if there is a torch for them."""
        why = (
            "no torch here: pip install -r requirements-bench.txt into an environment of its own, "
            "and name its interpreter with --python"
        )
        look = "import importlib.util; print(importlib.util.find_spec('torch') is not None)"
        try:
            done = subprocess.run([self.python, "-c", look], capture_output=True, check=False)
            if done.stdout == b"True\n":
                return {}
        except OSError as error:
            why = f"--python {self.python}: cannot be started: {error.strerror}"
        return dict.fromkeys(peers, why)

    def interleave(self, turns: Mapping[str, Turn]) -> Series:
        """Give every peer its turn in every round, in reversed order in every second one.

        What the machine does meanwhile then meets all of them, and a ratio of two values of one
        round depends on it little.
        """
        series: Series = {name: [] for name in turns}
        for number in range(self.rounds):
            for name in list(turns)[:: -1 if number % 2 else 1]:
                series[name].append(turns[name]())
            shown = ", ".join(f"{name} {series[name][-1]:.4g}" for name in turns)
            say(f"    round {number + 1}/{self.rounds}: {shown}")
        return series


class Peers(ExitStack):
    """The groups of processes that a case is measured with; within it they run.

    Args:
        session: The run of the command.
        case: Gets to know at the end what every peer said of itself.

    Attributes:
        groups: Those that were started, by name.
    """

    def __init__(self, session: Session, case: Case) -> None:
        super().__init__()
        self.session, self.case = session, case
        self.groups: dict[str, Group] = {}
        say(f"  {case.name}")

    def start(
        self,
        name: str,
        kind: str,
        spec: Mapping[str, Any],
        cores: Sequence[Sequence[int]],
        **options: Any,
    ) -> Group:
        """Start a group in a folder of its own; see :class:`tools.bench.group.Group`."""
        say(f"    starting {name}")
        own = Path(tempfile.mkdtemp(dir=self.session.folder))
        group = Group(name, kind, spec, cores, own, **options)
        self.groups[name] = self.enter_context(group)
        return group

    def start_ranks(
        self, name: str, spec: Mapping[str, Any], kind: str = "ours.Trainer", **options: Any
    ) -> Group:
        """Start :data:`RANKS` ranks of ours; by default as launch/run_distribute_8p.sh does."""
        options = {"starter": "launch", **options}
        return self.start(name, kind, spec, self.session.cores(), **options)

    def train(self, images: int, value: Literal["rate", "milliseconds"], **others: Turn) -> Series:
        """Let all groups, which train ``images`` images in a step, take turns with others.

        Args:
            images: Images of all ranks in a step.
            value: The method of :class:`Turns` whose values the series hold.
            others: What else has its turn, before them.
        """
        turns = {
            name: getattr(Turns(group, images, self.session.seconds), value)
            for name, group in self.groups.items()
        }
        return self.session.interleave({**others, **turns})

    def __exit__(self, *error: Any) -> bool | None:
        idle = sum(group.idle_seconds for group in self.groups.values())
        used = sum(group.cpu_seconds for group in self.groups.values())
        self.case.facts |= {
            "peers": {name: group.info for name, group in self.groups.items()},
            "cpu_share_while_idle": used / idle if idle else 0.0,
            "engines": {name: group.starter for name, group in self.groups.items()},
        }
        return super().__exit__(*error)


class Turns:
    """The turns of a group: blocks of steps of about the same duration.

    Args:
        group: Its ranks.
        images: Images of all ranks in a step.
        seconds: Wanted duration of a block.
        do: What a step is.
    """

    def __init__(self, group: Group, images: int, seconds: float, do: str = "run") -> None:
        self.group, self.images, self.do = group, images, do
        self.steps = 1
        self.steps = max(1, round(1000 * seconds / self.milliseconds()))

    def tell(self) -> None:
        """Start a block."""
        self.group.tell(self.do, steps=self.steps)

    def duration(self) -> float:
        """Wait for its end; return the seconds of the slowest rank."""
        return max(float(answer["seconds"]) for answer in self.group.answers())

    def milliseconds(self) -> float:
        """Return the milliseconds of a step, mean of a block."""
        self.tell()
        return 1000 * self.duration() / self.steps

    def rate(self) -> float:
        """Return the images per second of all ranks, mean of a block."""
        return 1000 * self.images / self.milliseconds()

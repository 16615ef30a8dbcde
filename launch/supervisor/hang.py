"""What every rank is in when none gets on, and which of them the others wait for."""

import itertools
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from launch.supervisor.rank_reports import Progress

_ROOT = Path(__file__).resolve().parents[2]

# How the kernel calls a process that cannot go on whatever the others do.
_STATES = {
    "T": "stopped (SIGSTOP)",
    "t": "stopped by a debugger",
    "D": "waits for the kernel (a disk, a network file system, a device)",
    "Z": "has ended",
}

# {step}: steps done; {next}: the one that is under way.
_PLACES = {
    "start": "its start",
    "download": "the download of data sets and checkpoint",
    "join": "the start, where all ranks join",
    "prepare": "the preparation of step {next}",
    "data": "the loading of images for step {next}",
    "compile": "the compilation of step {next}",
    "step": "step {next}",
    "consolidation": "the consolidation after step {step}",
    "evaluation": "the evaluation after step {step}",
    "checkpoint": "the checkpoint of step {step}",
    "upload": "the upload of the results",
}

# As faulthandler writes them, the innermost first.
_THREAD = re.compile(r"(Current thread|Thread) 0x")
_FRAME = re.compile(r'  File "(?P<file>.+)", line (?P<line>\d+) in (?P<function>.+)')


@dataclass(frozen=True)
class RankState:
    """A rank that does not get on, as plain values that can be sent to another node.

    Attributes:
        rank: Its number.
        state: The kernel's letter for its process.
        step: Steps done.
        phase: What it is in.
        phases: How many phases it has been in, the same sequence on all ranks.
        frame: The innermost function of ours that its main thread is in, "" if unknown.
    """

    rank: int
    state: str
    step: int
    phase: str
    phases: int
    frame: str


def state_of(rank: int, pid: int, progress: Progress, stacks: Sequence[str]) -> RankState:
    """Return the state of a rank; ``stacks`` are the lines that it has written when asked."""
    return RankState(rank, _letter(pid), *progress, _frame(stacks))


def describe(ranks: Iterable[RankState]) -> list[str]:
    """Return a line for every rank, or for all that are in the same, those waited for last."""
    ranks = sorted(ranks, key=lambda rank: rank.rank)
    awaited = _awaited(ranks)
    names = _names([rank.rank for rank in awaited])
    # Ranks that are in the same are told together: there may be hundreds.
    alike: dict[tuple[str, bool], list[int]] = {}
    for rank in (*(r for r in ranks if r not in awaited), *awaited):
        waits = bool(awaited) and rank not in awaited
        alike.setdefault((_where(rank), waits), []).append(rank.rank)
    lines = []
    for (where, waits), numbers in alike.items():
        they = "they wait" if len(numbers) > 1 else "it waits"
        lines.append(f"{_names(numbers)}: {where}" + f", where {they} for {names}" * waits)
    return lines


def _where(rank: RankState) -> str:
    place = _PLACES.get(rank.phase, rank.phase).format(step=rank.step, next=rank.step + 1)
    state = f"{_STATES[rank.state]}, " if rank.state in _STATES else ""
    return f"{state}in {place}" + f" ({rank.frame})" * bool(rank.frame)


def _awaited(ranks: Sequence[RankState]) -> list[RankState]:
    """Return the ranks that the others wait for; none if nothing tells them from the others."""
    halted = [rank for rank in ranks if rank.state in _STATES]
    first = min((rank.phases for rank in ranks), default=0)
    behind = [rank for rank in ranks if rank.phases == first]
    return halted or (behind if len(behind) < len(ranks) else [])


def _names(numbers: Sequence[int]) -> str:
    """Return "rank 3" or "ranks 0, 2-7"."""
    runs = itertools.groupby(enumerate(numbers), key=lambda pair: pair[1] - pair[0])
    shown = []
    for _, pairs in runs:
        run = [number for _, number in pairs]
        shown.append(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}")
    return f"rank{'s' if len(numbers) > 1 else ''} {', '.join(shown)}"


def _letter(pid: int) -> str:
    try:
        text = Path("/proc", str(pid), "stat").read_text()
    except OSError:
        return "Z"
    return text.rpartition(")")[2].split()[0]  # the name before it may hold anything


def _frame(stacks: Sequence[str]) -> str:
    """Return the innermost function of ours in the main thread, which is written last."""
    starts = [number for number, line in enumerate(stacks) if _THREAD.match(line)]
    for line in stacks[starts[-1] :] if starts else ():
        if (found := _FRAME.match(line)) and Path(found["file"]).is_relative_to(_ROOT / "train"):
            path = Path(found["file"]).relative_to(_ROOT)
            return f"{path}:{found['line']}, {found['function']}"
    return ""

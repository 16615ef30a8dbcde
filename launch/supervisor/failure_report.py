"""Explains the end of a job: who failed first, how, and the part of its log that says why.

``hints.yaml`` lists known messages in such logs, and what to do about them.
"""

import itertools
import re
import signal
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from launch.plan.processes import Process
from launch.supervisor.child_process import shell_code
from launch.supervisor.hang import RankState, describe
from train.errors import USER_ERROR, is_error_line

# What `timeout` ends with too.
_HANG_EXIT_CODE = 124
_TAIL_LINES = 25
# Enough for any traceback; a log may have grown to gigabytes.
_READ_BYTES = 256 * 1024
# More hints would bury the first, which is the likeliest to name the cause.
_MOST_HINTS = 3
# Everything that is known stands at the beginning of its line; some lines hold whole tensors.
_LONGEST_LINE = 2000

_TRACEBACK = "Traceback (most recent call last):"
_CHAINED = (
    "During handling of the above exception, another exception occurred:",
    "The above exception was the direct cause of the following exception:",
)
# MindSpore's own log lines, for instance "[WARNING] DISTRIBUTED(123,7f..,python):2026-...".
# The level matters: its [ERROR] and [CRITICAL] lines may be all there is.
_NOISE = re.compile(r"\[(DEBUG|INFO|WARNING)\] \w+\(\d+[:,]")
# From here on MindSpore's error messages address its own developers.
_FRAMEWORK_PART = re.compile(r"- (C\+\+ Call Stack|Framework (Error|Unexpected Exception))")


@dataclass(frozen=True)
class Failure:
    """The process of this node that failed first.

    Attributes:
        process: Which.
        returncode: Its exit code, or minus the number of the signal that ended it.
        seconds: How long it had been running.
        message: What it noted of its failure, if it did.
    """

    process: Process
    returncode: int
    seconds: float
    message: str | None = None


@dataclass(frozen=True)
class Cause:
    """Why an attempt ended, in a form that can be sent to another node.

    Attributes:
        text: What to tell the user.
        exit_code: With which the launcher is to end if this is the end.
        error: What tells this failure from others: the message, without where and when.
        step: The step the job had come to, None before its first.
        is_final: Whether another attempt could not fix it, as with a mistake of the user.
        hung: If none got on, where the ranks stood.
    """

    text: str
    exit_code: int
    error: str
    step: int | None = None
    is_final: bool = False
    hung: tuple[RankState, ...] = ()


def hang(hung: Sequence[RankState], hang_timeout: float, log_dir: Path) -> Cause:
    """Return why an attempt failed in which no rank got on for so many seconds."""
    lines = [
        f"no rank made progress for {hang_timeout:g} s:",
        *(f"  {line}" for line in describe(hung)),
        f"the stacks of their threads are at the end of the logs in {log_dir}",
    ]
    step = max((rank.step for rank in hung), default=0)
    return Cause("\n".join(lines), _HANG_EXIT_CODE, "hang", step or None, hung=tuple(hung))


def explain(failure: Failure, log_dir: Path, step: int | None) -> Cause:
    """Return why an attempt failed in which a process did; the job had come to this step."""
    if line := user_error(failure, log_dir):
        return Cause(line, USER_ERROR, line, step, is_final=True)
    error = failure.message or how(failure.returncode)
    return Cause(report(failure, log_dir), exit_code(failure), error, step)


def user_error(failure: Failure, log_dir: Path) -> str | None:
    """Return what was said about a mistake of the user, if the failure is one.

    That is one line, or several beneath each other where there are several mistakes.
    """
    if failure.returncode != USER_ERROR:
        return None
    from_the_end = iter(reversed(read_end(log_dir / failure.process.log_name)))
    first = next(filter(is_error_line, from_the_end), None)
    others = itertools.takewhile(is_error_line, from_the_end)
    return None if first is None else "\n".join(reversed([first, *others]))


def report(failure: Failure, log_dir: Path) -> str:
    """Return what to tell about a failure that is not a mistake of the user."""
    log = log_dir / failure.process.log_name
    # Where the disk is full the log is empty, and what the process has said of itself is all.
    lines = read_end(log) or list(filter(None, [failure.message]))
    # A process ended by a signal has raised nothing: a traceback in its log is an old one.
    excerpt = last_traceback(lines) if failure.returncode > 0 else []
    excerpt = excerpt or useful_tail(lines)
    head = (
        f"{failure.process.name} failed first: {how(failure.returncode)} "
        f"after {failure.seconds:.0f} s"
    )
    quoted = [f"  {line}" for line in excerpt] or ["  (its log is empty)"]
    hints = [f"hint: {hint.meaning}: {hint.remedy}" for hint in hints_for(lines)]
    return "\n".join([head, *quoted, *hints, f"log: {log}"])


def exit_code(failure: Failure) -> int:
    """Return the exit code of a job that failed this way."""
    # Above 125 a code would read as a shell's own, or as a signal that never was.
    return shell_code(failure.returncode) if failure.returncode <= 125 else 1


def last_traceback(lines: Sequence[str]) -> list[str]:
    """Return the last Python traceback with the exceptions that led to it, if there is one."""
    starts = [number for number, line in enumerate(lines) if line.startswith(_TRACEBACK)]
    if not starts:
        return []
    start = starts.pop()
    while starts and any(line.startswith(_CHAINED) for line in lines[max(0, start - 3) : start]):
        start = starts.pop()
    block = list(lines[start:])
    end = next((n for n, line in enumerate(block) if _FRAMEWORK_PART.match(line)), None)
    if end is not None:
        del block[max(0, end - 1) :]  # the heading stands between two rules of dashes
    while block and not block[-1].strip("- "):
        block.pop()
    return [line for line in block if not _NOISE.match(line)][: _TAIL_LINES * 4]


def useful_tail(lines: Sequence[str]) -> list[str]:
    """Return the last lines without MindSpore's chatter."""
    useful = [line for line in lines if line.strip() and not _NOISE.match(line)]
    return (useful or [line for line in lines if line.strip()])[-_TAIL_LINES:]


def how(returncode: int) -> str:
    """Return how a process ended, in words."""
    if returncode >= 0:
        return f"exit code {returncode}"
    try:
        name = signal.Signals(-returncode).name
    except ValueError:
        name = f"signal {-returncode}"
    # Nothing else on a machine kills a process this way by itself.
    memory = " (out of memory?)" if returncode == -signal.SIGKILL else ""
    return f"killed by {name}{memory}"


def read_end(path: Path, since: int = 0) -> list[str]:
    """Return the last lines of a log, of what was written after so many bytes."""
    with path.open("rb") as log:
        log.seek(0, 2)
        log.seek(max(since, log.tell() - _READ_BYTES))
        return log.read().decode(errors="replace").splitlines()


@dataclass(frozen=True)
class Row:
    """A row of ``hints.yaml``, which explains the fields."""

    id: str
    pattern: re.Pattern[str]
    meaning: str
    remedy: str
    sample: str


def hints_for(lines: Iterable[str]) -> list[Row]:
    """Return what is known about the lines of a log, in their order, every row once."""
    found: dict[str, Row] = {}
    for line in lines:
        row = next((row for row in table() if row.pattern.search(line[:_LONGEST_LINE])), None)
        if row is not None:
            found.setdefault(row.id, row)
            if len(found) == _MOST_HINTS:
                break
    return list(found.values())


@cache
def table() -> tuple[Row, ...]:
    """Return all rows in their order."""
    import yaml  # only a job that has failed pays for it

    text = Path(__file__).with_name("hints.yaml").read_text(encoding="utf-8")
    return tuple(
        Row(**{**row, "pattern": re.compile(row["pattern"])}) for row in yaml.safe_load(text)
    )

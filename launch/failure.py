"""Explains the end of a job: who failed first, how, and the part of its log that says why."""

import re
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from launch.hints import hints_for
from launch.supervisor import Failure, Outcome
from train.errors import USER_ERROR, is_error_line

# What `timeout` ends with too.
HANG_EXIT_CODE = 124

_TAIL_LINES = 25
# Enough for any traceback; a log may have grown to gigabytes.
_READ_BYTES = 256 * 1024

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
class Cause:
    """Why an attempt ended, in a form that can be sent to another node.

    Attributes:
        text: what to tell the user.
        exit_code: with which the launcher is to end if this is the end.
        error: what tells this failure from others: the message, without where and when.
        step: the step the job had come to, None before its first.
        is_final: whether another attempt would not mend it, as with a mistake of the user.
    """

    text: str
    exit_code: int
    error: str
    step: int | None = None
    is_final: bool = False


def explain(outcome: Outcome, log_dir: Path, hang_timeout: float) -> Cause | None:
    """Returns why the processes of this node failed, None if they did not."""
    step = max((step for step in outcome.steps if step is not None), default=None)
    if outcome.hung:
        return _hang(outcome, log_dir, hang_timeout, step)
    if outcome.failure is None:
        return None
    failure = outcome.failure
    if line := user_error(failure, log_dir):
        return Cause(line, USER_ERROR, line, step, is_final=True)
    error = failure.message or how(failure.returncode)
    return Cause(report(failure, log_dir), exit_code(failure), error, step)


def _hang(outcome: Outcome, log_dir: Path, timeout: float, step: int | None) -> Cause:
    steps = ", ".join("-" if step is None else str(step) for step in outcome.steps)
    text = (
        f"no rank made progress for {timeout:g} s (steps of the ranks: {steps})\n"
        f"where every rank stood is at the end of the logs in {log_dir}"
    )
    return Cause(text, HANG_EXIT_CODE, "hang", step)


def user_error(failure: Failure, log_dir: Path) -> str | None:
    """Returns what was said about a mistake of the user, if the failure is one.

    That is one line, or several beneath each other where there are several mistakes.
    """
    if failure.returncode != USER_ERROR:
        return None
    found: list[str] = []
    for line in reversed(_read_end(log_dir / failure.process.log_name)):
        if is_error_line(line):
            found.insert(0, line)
        elif found:
            break
    return "\n".join(found) or None


def report(failure: Failure, log_dir: Path) -> str:
    """Returns what to tell about a failure that is not a mistake of the user."""
    log = log_dir / failure.process.log_name
    lines = _read_end(log)
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
    """Returns the exit code of a job that failed this way."""
    code = failure.returncode
    if code < 0:
        return 128 - code
    # Above 125 a code would read as a shell's own, or as a signal that never was.
    return code if code <= 125 else 1


def last_traceback(lines: Sequence[str]) -> list[str]:
    """Returns the last Python traceback with the exceptions that led to it, if there is one."""
    starts = [number for number, line in enumerate(lines) if line.startswith(_TRACEBACK)]
    if not starts:
        return []
    start = starts.pop()
    while starts and any(line.startswith(_CHAINED) for line in lines[max(0, start - 3) : start]):
        start = starts.pop()
    block = _until_framework_part(list(lines[start:]))
    return [line for line in block if not _NOISE.match(line)][: _TAIL_LINES * 4]


def _until_framework_part(lines: list[str]) -> list[str]:
    for number, line in enumerate(lines):
        if _FRAMEWORK_PART.match(line):
            # The heading stands between two rules of dashes.
            return _stripped(lines[: number - 1] if number else [])
    return _stripped(lines)


def _stripped(lines: list[str]) -> list[str]:
    while lines and not lines[-1].strip("- "):
        lines = lines[:-1]
    return lines


def useful_tail(lines: Sequence[str]) -> list[str]:
    """Returns the last lines without MindSpore's chatter."""
    useful = [line for line in lines if line.strip() and not _NOISE.match(line)]
    return (useful or [line for line in lines if line.strip()])[-_TAIL_LINES:]


def how(returncode: int) -> str:
    """Returns how a process ended, in words."""
    if returncode >= 0:
        return f"exit code {returncode}"
    try:
        name = signal.Signals(-returncode).name
    except ValueError:
        name = f"signal {-returncode}"
    # Nothing else on a machine kills a process this way by itself.
    memory = " (out of memory?)" if returncode == -signal.SIGKILL else ""
    return f"killed by {name}{memory}"


def _read_end(path: Path) -> list[str]:
    with path.open("rb") as log:
        log.seek(0, 2)
        log.seek(max(0, log.tell() - _READ_BYTES))
        return log.read().decode(errors="replace").splitlines()

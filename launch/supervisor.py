"""Runs the processes of a plan to their end: watches, passes signals on, leaves nothing behind."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from launch import child
from launch.plan import Process

# Seconds for the others after one rank has failed. Most sit in a collective, where they cannot
# react, so this is short; the exit code is decided already.
_GRACE_AFTER_FAILURE = 2.0
# Seconds for the scheduler to notice that all ranks have gone. It has nothing to save.
_GRACE_FOR_SCHEDULER = 3.0
# Waking up is up to the kernel; this is only a safety net for a wake-up that got lost.
_LOOK_EVERY = 1.0


@dataclass(frozen=True)
class Failure:
    """The process that failed first.

    Attributes:
        process: which.
        returncode: its exit code, or minus the number of the signal that ended it.
        seconds: how long it had been running.
    """

    process: Process
    returncode: int
    seconds: float


@dataclass(frozen=True)
class Outcome:
    """How a job ended: well if both are None.

    Attributes:
        signal_number: the signal that ended the job from outside.
        failure: the failure that ended it from inside.
    """

    signal_number: int | None = None
    failure: Failure | None = None


def run(plan: Sequence[Process], log_dir: Path, grace: float) -> Outcome:
    """Runs all processes of a plan and returns when none is left.

    Args:
        plan: the processes, in the order of their start.
        log_dir: existing folder for their logs.
        grace: seconds between passing a signal on and killing what is left.
    """
    with _blocked_signals() as stop_signals:
        supervisor = _Supervisor(stop_signals)
        try:
            supervisor.start(plan, log_dir)
            return supervisor.watch(grace)
        finally:
            supervisor.kill_all()


@contextmanager
def _blocked_signals() -> Iterator[frozenset[signal.Signals]]:
    """Holds signals back to be waited for, so that none is missed and none cuts in.

    Gives the signals that mean "stop". One that was ignored at the start stays ignored: that
    is how nohup and a shell's background jobs ask for it.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # if ignored, exit codes would get lost
    stop = frozenset(
        {signal.SIGTERM}
        | {s for s in (signal.SIGINT, signal.SIGHUP) if signal.getsignal(s) != signal.SIG_IGN}
    )
    before = signal.pthread_sigmask(signal.SIG_BLOCK, stop | {signal.SIGCHLD})
    try:
        yield stop
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Supervisor:
    def __init__(self, stop_signals: frozenset[signal.Signals]) -> None:
        self._stop_signals = stop_signals
        self._running: list[tuple[Process, subprocess.Popen[bytes]]] = []
        self._failure: Failure | None = None
        self._started = time.monotonic()

    def start(self, plan: Sequence[Process], log_dir: Path) -> None:
        for process in plan:
            self._running.append((process, child.start(process, log_dir)))

    def watch(self, grace: float) -> Outcome:
        """Waits for the end of the job, whichever it is."""
        while self._workers():
            stop = self._wait(_LOOK_EVERY)
            if stop is not None:
                self._stop_workers(stop, grace)
                return Outcome(signal_number=stop)
            if self._failure is not None:
                return self._end_after_failure(self._failure)
        self._let_scheduler_go()
        return Outcome()

    def kill_all(self) -> None:
        for _, popen in self._running:
            child.kill_group(popen)
        self._running.clear()

    def _workers(self) -> list[subprocess.Popen[bytes]]:
        return [popen for process, popen in self._running if process.rank is not None]

    def _wait(self, seconds: float) -> int | None:
        """Sleeps until something happens; returns the signal if we are told to stop."""
        info = signal.sigtimedwait(self._stop_signals | {signal.SIGCHLD}, max(0.0, seconds))
        self._collect()
        return info.si_signo if info and info.si_signo in self._stop_signals else None

    def _collect(self) -> None:
        """Takes note of the processes that have ended, and of the first that failed."""
        for entry in list(self._running):
            process, popen = entry
            if not child.has_ended(popen):
                continue
            self._running.remove(entry)
            child.kill_group(popen)  # what it has left behind
            if popen.returncode != 0 and self._failure is None:
                seconds = time.monotonic() - self._started
                self._failure = Failure(process, popen.returncode, seconds)

    def _stop_workers(self, number: int, grace: float) -> int | None:
        """Asks the ranks to end and waits; returns a signal that came in the meantime.

        Only the process itself is asked, not what it has started: a rank that wants to save
        its state may need its helpers. For the same reason the scheduler is left alone, since
        collectives depend on it.
        """
        for popen in self._workers():
            os.kill(popen.pid, number)
        deadline = time.monotonic() + grace
        received = None
        while self._workers() and (left := deadline - time.monotonic()) > 0:
            stop = self._wait(left)
            received = received or stop
            if stop == signal.SIGINT:  # asked again, by someone who does not want to wait
                break
        return received

    def _end_after_failure(self, failure: Failure) -> Outcome:
        received = self._stop_workers(signal.SIGTERM, _GRACE_AFTER_FAILURE)
        if received is not None and failure.returncode == -received:
            # A job manager sends its signal to every process, and a rank may die of it before
            # the launcher has got its own.
            return Outcome(signal_number=received)
        return Outcome(failure=failure)

    def _let_scheduler_go(self) -> None:
        deadline = time.monotonic() + _GRACE_FOR_SCHEDULER
        while self._running and (left := deadline - time.monotonic()) > 0:
            self._wait(left)

"""Runs the processes of this node to their end: watches, passes signals on, leaves none behind."""

import os
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from launch import child
from launch.plan import Process
from launch.signals import Signals
from launch.signs import HangWatch, Signs
from train.errors import UserError

# Seconds for the others after one rank has failed. Most sit in a collective, where they cannot
# react, so this is short; the exit code is decided already.
_GRACE_AFTER_FAILURE = 2.0
# Seconds for the scheduler to notice that all ranks have gone. It has nothing to save.
_GRACE_FOR_SCHEDULER = 3.0
# Seconds to write down where every rank hangs.
_TIME_FOR_STACKS = 3.0
# The end of a process wakes us up. This is for what does not: other nodes, and ranks that hang.
_LOOK_EVERY = 0.25


@dataclass(frozen=True)
class Failure:
    """The process of this node that failed first.

    Attributes:
        process: which.
        returncode: its exit code, or minus the number of the signal that ended it.
        seconds: how long it had been running.
        message: what it noted of its failure, if it did.
    """

    process: Process
    returncode: int
    seconds: float
    message: str | None = None


@dataclass(frozen=True)
class Outcome:
    """How the processes of this node ended: well if nothing is said.

    Attributes:
        signal_number: the signal that ended them from outside, or came while they were ended.
        failure: the failure that ended them from inside.
        hung: whether they made no progress any more.
        elsewhere: whether another node ended them.
        steps: the step every rank had come to, None before its first.
    """

    signal_number: int | None = None
    failure: Failure | None = None
    hung: bool = False
    elsewhere: bool = False
    steps: tuple[int | None, ...] = ()


class Nodes(Protocol):
    """The other nodes of the job, as far as a supervisor needs to know them."""

    def stopped(self) -> int | None:
        """Returns the signal with which another node was told to stop."""

    def failed(self) -> bool:
        """Says whether another node has failed."""

    def finished(self) -> bool:
        """Says whether this node may leave once its own ranks have ended well."""

    def tell_stop(self, number: int) -> None:
        """Passes on that this node was told to stop."""

    def tell_failed(self) -> None:
        """Passes on that this node has failed."""


def run(
    plan: Sequence[Process],
    log_dir: Path,
    grace: float,
    hang_timeout: float,
    signals: Signals,
    nodes: Nodes,
) -> Outcome:
    """Runs all processes of a plan and returns when none is left.

    Args:
        plan: the processes of this node, in the order of their start.
        log_dir: existing folder for their logs.
        grace: seconds between passing a signal on and killing what is left.
        hang_timeout: seconds without progress after which they count as dead, 0 for never.
        signals: the signals of this process, held back.
        nodes: the other nodes.
    """
    with Signs() as signs:
        supervisor = _Supervisor(plan, log_dir, signals, signs, nodes)
        try:
            supervisor.start()
            outcome = supervisor.watch(grace, hang_timeout)
        finally:
            supervisor.kill_all()
        return supervisor.complete(outcome)


class _Supervisor:
    def __init__(
        self,
        plan: Sequence[Process],
        log_dir: Path,
        signals: Signals,
        signs: Signs,
        nodes: Nodes,
    ) -> None:
        self._plan = plan
        self._log_dir = log_dir
        self._signals = signals
        self._signs = signs
        self._nodes = nodes
        self._running: list[tuple[Process, subprocess.Popen[bytes]]] = []
        self._ended: dict[Process, int] = {}
        # Processes that failed before anything was done to them, with the time of it.
        self._failed: dict[Process, float] = {}
        self._ending = False
        self._started = time.time()

    def start(self) -> None:
        """Starts all processes.

        Raises:
            UserError: one cannot be started.
        """
        for process in self._plan:
            variables = self._signs.variables(process)
            try:
                popen = child.start(process, variables, self._log_dir)
            except OSError as error:
                command = process.command[0]
                raise UserError(f"{process.name} cannot be started: {command}: {error}") from None
            self._running.append((process, popen))

    def watch(self, grace: float, hang_timeout: float) -> Outcome:
        """Waits for the end of the job, whichever it is."""
        hang_watch = HangWatch(self._signs, self._plan, hang_timeout, time.monotonic())
        while self._workers() or not self._nodes.finished():
            if stop := self._wait(_LOOK_EVERY):
                self._nodes.tell_stop(stop)
                return self._stop(stop, grace)
            if self._failed:
                self._nodes.tell_failed()
                return self._end_after_failure(Outcome(failure=self._first_seen()))
            if hang_watch.is_hung(time.monotonic()):
                self._write_stacks()
                self._nodes.tell_failed()
                return self._end_after_failure(Outcome(hung=True))
            if stop := self._nodes.stopped():
                return self._stop(stop, grace)
            if self._nodes.failed():
                return self._end_after_failure(Outcome(elsewhere=True))
        self._let_scheduler_go()
        return Outcome()

    def kill_all(self) -> None:
        for process, popen in self._running:
            child.kill_group(popen)
            self._ended[process] = popen.returncode
        self._running.clear()

    def complete(self, outcome: Outcome) -> Outcome:
        """Adds what is known when all processes have ended: who failed first, and at which step."""
        workers = [process for process in self._plan if process.rank is not None]
        steps = tuple(self._signs.step(process) for process in workers)
        failure = outcome.failure
        if failure is not None or outcome.elsewhere:
            failure = self._first_failure()
        return replace(outcome, failure=failure, steps=steps)

    def _first_failure(self) -> Failure | None:
        """Returns the first failure of this node, by the time it happened.

        A rank that has failed may take a while to end; if it noted the time of its failure, that
        is what counts. So another's death that was seen earlier may turn out to be a consequence.
        """
        moments = dict(self._failed)
        messages: dict[Process, str] = {}
        for process in self._plan:
            if recorded := self._signs.recorded(process):
                moments[process] = recorded.time
                messages[process] = recorded.message
        if not moments:
            return None
        first = min(moments, key=lambda process: moments[process])
        code = self._ended[first]
        if first in messages and code <= 0:
            code = 1  # it had failed before we ended it
        return Failure(first, code, moments[first] - self._started, messages.get(first))

    def _workers(self) -> list[subprocess.Popen[bytes]]:
        return [popen for process, popen in self._running if process.rank is not None]

    def _wait(self, seconds: float) -> int | None:
        """Sleeps until something happens; returns the signal if we are told to stop."""
        stop = self._signals.wait(seconds)
        self._collect()
        return stop

    def _collect(self) -> None:
        """Takes note of the processes that have ended, and of those that failed by themselves."""
        for entry in list(self._running):
            process, popen = entry
            if not child.has_ended(popen):
                continue
            self._running.remove(entry)
            child.kill_group(popen)  # what it has left behind
            self._ended[process] = popen.returncode
            if popen.returncode != 0 and not self._ending:
                self._failed[process] = time.time()

    def _stop(self, number: int, grace: float) -> Outcome:
        again = ", Ctrl-C again to end at once" if number == signal.SIGINT else ""
        name = signal.Signals(number).name
        print(f"{name}: the ranks save and end, within {grace:g} s{again}", flush=True)
        self._stop_workers(number, grace)
        return Outcome(signal_number=number)

    def _stop_workers(self, number: int, grace: float) -> int | None:
        """Asks the ranks to end and waits; returns a signal that came in the meantime.

        Only the process itself is asked, not what it has started: a rank that wants to save
        its state may need its helpers. For the same reason the scheduler is left alone, since
        collectives depend on it.
        """
        self._ending = True
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

    def _first_seen(self) -> Failure:
        process = next(iter(self._failed))
        return Failure(process, self._ended[process], self._failed[process] - self._started)

    def _end_after_failure(self, outcome: Outcome) -> Outcome:
        received = self._stop_workers(signal.SIGTERM, _GRACE_AFTER_FAILURE)
        if received and outcome.failure and outcome.failure.returncode == -received:
            # A job manager sends its signal to every process, and a rank may die of it before
            # the launcher has got its own.
            return Outcome(signal_number=received)
        return replace(outcome, signal_number=received)

    def _write_stacks(self) -> None:
        """Has every rank write the stacks of its threads to its log (train/process/failure.py)."""
        for popen in self._workers():
            os.kill(popen.pid, signal.SIGUSR1)
        deadline = time.monotonic() + _TIME_FOR_STACKS
        self._ending = True
        while self._workers() and (left := deadline - time.monotonic()) > 0:
            self._wait(left)

    def _let_scheduler_go(self) -> None:
        deadline = time.monotonic() + _GRACE_FOR_SCHEDULER
        while self._running and (left := deadline - time.monotonic()) > 0:
            self._wait(left)

"""One attempt on this node: runs its ranks to their end, passes signals on, leaves none behind."""

import os
import signal
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from launch.job import Job
from launch.log_folders import log_folder
from launch.plan.placement import Placement
from launch.plan.processes import Process, World, make_plan
from launch.supervisor.child_process import Popen, Signals, has_ended, kill_group, start_rank
from launch.supervisor.failure_report import Cause, Failure, explain, hang, read_end
from launch.supervisor.hang import RankState, state_of
from launch.supervisor.rank_reports import RankReports
from train.errors import UserError
from train.process.signals import SAVE, STACKS
from train.temporary import temporary_folder

# Seconds for the others after one rank has failed. Most sit in a collective, where they cannot
# react, so this is short; the exit code is decided already.
_GRACE_AFTER_FAILURE = 2.0
# Seconds for the scheduler to notice that all ranks have gone. It has nothing to save.
_GRACE_FOR_SCHEDULER = 3.0
# Seconds to write down where every rank hangs.
_TIME_FOR_STACKS = 3.0
# The end of a process wakes us up. This is for what does not: other nodes, and ranks that hang.
_LOOK_EVERY = 0.25

_REQUESTED: dict[int, str] = {
    SAVE: "the ranks save at their next consolidation point, and go on",
    STACKS: "the ranks write their stacks to their logs, and go on",
}

_Reason = Literal["failure", "failure elsewhere", "hang"]


@dataclass(frozen=True)
class Ended:
    """How an attempt ended on one node, or on all: well if nothing is said.

    Attributes:
        cause: What failed.
        signal_number: The signal that ended it from outside, or came while it was ended.
    """

    cause: Cause | None = None
    signal_number: int | None = None

    @staticmethod
    def from_message(message: Mapping[str, Any]) -> "Ended":
        """Read what another node has sent as plain values."""
        cause = message["cause"]
        if cause:
            hung = tuple(RankState(**rank) for rank in cause["hung"])
            cause = Cause(**{**cause, "hung": hung})
        return Ended(cause, message["signal_number"])


class OtherNodes(ABC):
    """The other nodes of the job, as far as the supervisor of this one needs to know them.

    Attributes:
        stop: The signal with which another node was told to stop.
        failed: Whether another node has failed.
        hung: Whether no rank of another node gets on.
        requests: Signals that are no end, which have come to another node.
    """

    def __init__(self) -> None:
        self.stop: int | None = None
        self.failed = False
        self.hung = False
        self.requests: set[int] = set()

    @abstractmethod
    def listen(self) -> None:
        """Take note of what the other nodes have said."""

    @abstractmethod
    def send(self, kind: str, **values: object) -> None:
        """Tell the other nodes that this one has failed ("fail") or hangs ("hang").

        Or of a signal: to end ("stop"), or another one ("request").
        """

    @abstractmethod
    def finished(self) -> bool:
        """Return whether this node may leave once its own ranks have ended well."""


def run_attempt(
    placement: Placement,
    attempt: int,
    first_rank: int,
    world: World,
    signals: Signals,
    nodes: OtherNodes,
) -> Ended:
    """Run this node's processes until none is left, and return how they ended.

    Args:
        placement: Job, machine and place of this node.
        attempt: Number of the attempt; the folder of its logs is there.
        first_rank: The lowest rank of this node.
        world: What all nodes agree on.
        signals: The signals of this process, held back.
        nodes: The other nodes.

    Raises:
        UserError: A process cannot be started.
    """
    job, log_dir = placement.job, log_folder(placement.job.run_dir, attempt)
    plan = make_plan(job, placement.this_node(first_rank), world, placement.machine, os.environ)
    with temporary_folder() as folder:
        supervisor = _Supervisor(job, plan, log_dir, folder, RankReports(folder), signals, nodes)
        try:
            supervisor.start()
            signal_number = supervisor.watch()
        finally:
            supervisor.kill_all()
        return Ended(supervisor.cause(), signal_number)


@dataclass
class _Supervisor:
    job: Job
    plan: Sequence[Process]
    log_dir: Path
    temporary: Path
    reports: RankReports
    signals: Signals
    nodes: OtherNodes
    running: list[tuple[Process, Popen]] = field(default_factory=list)
    ended: dict[Process, int] = field(default_factory=dict)
    # Processes that failed before anything was done to them, with the time of it.
    failed: dict[Process, float] = field(default_factory=dict)
    ending: bool = False
    # Why they were ended: nothing, a signal, or that all was done, is no reason to explain.
    reason: _Reason | None = None
    started: float = field(default_factory=time.time)
    heartbeats: list[int] = field(default_factory=list)
    progress: float = field(default_factory=time.monotonic)
    hung: list[RankState] = field(default_factory=list)

    def start(self) -> None:
        for process in self.plan:
            # So that nothing of theirs is left, however they end.
            variables = {"TMPDIR": str(self.temporary), **self.reports.variables(process)}
            try:
                popen = start_rank(process, variables, self.log_dir)
            except OSError as error:
                command = process.command[0]
                raise UserError(f"{process.name} cannot be started: {command}: {error}") from None
            self.running.append((process, popen))

    def watch(self) -> int | None:
        """Wait for the end of the job, whichever it is; return a signal that came from outside."""
        while self.workers() or not self.nodes.finished():
            if stop := self.wait(_LOOK_EVERY):
                self.nodes.send("stop", number=stop)
                return self.stop(stop)
            if self.failed:
                self.nodes.send("fail")
                return self.end_after("failure")
            if self.is_hung():
                self.nodes.send("hang")
                return self.end_hung()
            self.nodes.listen()
            if stop := self.nodes.stop:
                return self.stop(stop)
            if self.nodes.hung:
                return self.end_hung()
            if self.nodes.failed:
                return self.end_after("failure elsewhere")
        self.let_scheduler_go()
        return None

    def kill_all(self) -> None:
        for process, popen in self.running:
            kill_group(popen)
            self.ended[process] = popen.returncode
        self.running.clear()

    def cause(self) -> Cause | None:
        """Return why the processes failed, when all have ended; None if they did not."""
        if self.reason is None:
            return None
        if self.reason == "hang":
            return hang(self.hung, self.job.hang_timeout, self.log_dir)
        steps = [self.reports.step(process) for process in self.plan if process.rank is not None]
        step = max((step for step in steps if step is not None), default=None)
        failure = self.first_failure()
        return None if failure is None else explain(failure, self.log_dir, step)

    def first_failure(self) -> Failure | None:
        """Return the first failure of this node, by the time it happened.

        A rank that has failed may take a while to end; if it noted the time of its failure, that
        is what counts. So another's death that was seen earlier may turn out to be a consequence.
        """
        moments = dict(self.failed)
        noted = {process: self.reports.failure(process) for process in self.plan}
        moments.update({process: failure.time for process, failure in noted.items() if failure})
        if not moments:
            return None
        first = min(moments, key=lambda process: moments[process])
        code, failure = self.ended[first], noted[first]
        if failure and code <= 0:
            code = failure.code  # it had failed before we ended it
        message = failure.message if failure else None
        return Failure(first, code, moments[first] - self.started, message)

    def workers(self) -> list[Popen]:
        return [popen for process, popen in self.running if process.rank is not None]

    def wait(self, seconds: float) -> int | None:
        """Sleep until something happens; return the signal if we are told to stop.

        Takes note of the processes that have ended, and of those that failed by themselves.
        """
        stop = self.signals.wait(seconds)
        self.hand_on_requests()
        for entry in list(self.running):
            process, popen = entry
            if not has_ended(popen):
                continue
            self.running.remove(entry)
            kill_group(popen)  # what it has left behind
            self.ended[process] = popen.returncode
            if popen.returncode != 0 and not self.ending:
                self.failed[process] = time.time()
        return stop

    def hand_on_requests(self) -> None:
        """Hand on to the ranks what does not end them: to save and go on, to write stacks."""
        for number in self.signals.take_requests():
            print(f"{signal.Signals(number).name}: {_REQUESTED[number]}", flush=True)
            self.nodes.send("request", number=number)
            self.signal_workers(number)
        for number in self.nodes.requests:
            self.signal_workers(number)
        self.nodes.requests.clear()

    def is_hung(self) -> bool:
        """Return whether no rank of this node has made progress for too long.

        One rank that makes progress is enough: a rank that waits for another in a collective makes
        none.
        """
        heartbeats = [self.reports.heartbeat(process) for process in self.plan]
        if heartbeats != self.heartbeats:
            self.heartbeats, self.progress = heartbeats, time.monotonic()
        return 0 < self.job.hang_timeout < time.monotonic() - self.progress

    def stop(self, number: int) -> int:
        grace = self.job.grace
        again = ", Ctrl-C again to end at once" if number == signal.SIGINT else ""
        name = signal.Signals(number).name
        # On a terminal the progress of rank 0 stands in the line where the cursor is.
        start = "\n" if sys.stdout.isatty() else ""
        print(f"{start}{name}: the ranks save and end, within {grace:g} s{again}", flush=True)
        self.stop_workers(number, grace)
        if self.workers():
            print(
                "ended before the ranks had come to a consolidation point: what they have done "
                "since the newest checkpoint is not saved (--grace gives them more time)",
                flush=True,
            )
        return number

    def stop_workers(self, number: int, grace: float) -> int | None:
        """Ask the ranks to end and wait; return a signal that came in the meantime.

        Only the process itself is asked, not what it has started: a rank that wants to save
        its state may need its helpers. For the same reason the scheduler is left alone, since
        collectives depend on it.
        """
        self.ending = True
        self.signal_workers(number)
        deadline = time.monotonic() + grace
        received = None
        while self.workers() and (left := deadline - time.monotonic()) > 0:
            stop = self.wait(left)
            received = received or stop
            if stop == signal.SIGINT:  # asked again, by someone who does not want to wait
                break
        return received

    def signal_workers(self, number: int) -> None:
        for popen in self.workers():
            os.kill(popen.pid, number)

    def end_hung(self) -> int | None:
        """End ranks that do not get on, after they have written where they stand."""
        ranks = [(process, popen) for process, popen in self.running if process.rank is not None]
        logs = [self.log_dir / process.log_name for process, _ in ranks]
        sizes = [log.stat().st_size for log in logs]
        stop = self.stop_workers(STACKS, _TIME_FOR_STACKS)
        for (process, popen), log, size in zip(ranks, logs, sizes, strict=True):
            progress, stacks = self.reports.progress(process), read_end(log, size)
            assert process.rank is not None
            self.hung.append(state_of(process.rank, popen.pid, progress, stacks))
        return self.end_after("hang") or stop

    def end_after(self, reason: _Reason) -> int | None:
        self.reason = reason
        received = self.stop_workers(signal.SIGTERM, _GRACE_AFTER_FAILURE)
        if received and reason == "failure" and self.ended[next(iter(self.failed))] == -received:
            # A job manager sends its signal to every process, and a rank may die of it before
            # the launcher has got its own.
            self.reason = None
        return received

    def let_scheduler_go(self) -> None:
        deadline = time.monotonic() + _GRACE_FOR_SCHEDULER
        while self.running and (left := deadline - time.monotonic()) > 0:
            self.wait(left)

"""Node 0: brings the nodes together, decides on attempts, and says how the job has ended."""

import os
import resource
import socket
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from launch import ports, restarts
from launch.attempt import Ended, claim_attempt, log_folder, node_of, run_attempt
from launch.channel import Channel, Message
from launch.description import Job
from launch.devices import Machine
from launch.failure import Cause
from launch.part import Part
from launch.plan import World
from launch.signals import Signals
from train.errors import USER_ERROR, UserError

LOOPBACK = "127.0.0.1"
_POLL = 0.1
# Seconds for another node to end its processes, on top of the grace time they have.
_TIME_TO_END = 20.0
# Files and pipes of node 0 beside its connections to the other nodes, with some to spare.
_OTHER_FILES = 512


@dataclass
class _Member:
    """Another node as node 0 sees it."""

    number: int
    host: str
    nproc: int
    channel: Channel
    ended: Ended | None = None

    @property
    def name(self) -> str:
        return f"node {self.number} ({self.host})"


def lead(job: Job, part: Part, machine: Machine, signals: Signals) -> int:
    """Runs the job and returns the exit code of the launcher.

    Raises:
        UserError: it cannot be started.
    """
    with Members(job, part) as members:
        if stop := members.gather(signals):
            return members.finish(128 + stop)
        causes: list[Cause] = []
        while True:
            ended = _attempt(job, part, machine, signals, members)
            if ended.cause is None:
                return members.finish(128 + ended.signal_number if ended.signal_number else 0)
            causes.append(ended.cause)
            _say(ended.cause.text)
            give_up = restarts.reason_to_give_up(causes, job.max_restarts)
            if ended.signal_number:
                give_up = "" if give_up is None else give_up
            if give_up is not None:
                if give_up:
                    _say(f"not started again: {give_up}")
                return members.finish(ended.cause.exit_code)
            pause = restarts.pause(len(causes))
            _say(f"starting again in {pause:g} s (restart {len(causes)} of {job.max_restarts})")
            if stop := _sleep(pause, signals):
                return members.finish(128 + stop)


def _attempt(job: Job, part: Part, machine: Machine, signals: Signals, members: "Members") -> Ended:
    host = members.address or os.environ.get("MS_SCHED_HOST") or LOOPBACK
    size = part.nproc + sum(member.nproc for member in members.all)
    world = World(size)
    if size > 1 and part.table is None:
        world = World(size, (host, str(_scheduler_port(job, host, members.attempts))))
    attempt = claim_attempt(job.run_dir)
    log_dir = log_folder(job.run_dir, attempt)
    ranks = "1 rank" if size == 1 else f"{size} ranks"
    where = f" on {part.nnodes} nodes" if part.nnodes > 1 else ""
    print(f"starting {ranks}{where}, logs in {log_dir}", flush=True)
    members.start(attempt, world, part)
    node = node_of(part, 0, socket.gethostname(), 0, part.nproc)
    own = run_attempt(job, part, node, world, log_dir, machine, signals, members)
    return members.conclude(own, signals)


def wanted_port(job: Job) -> int | None:
    """Returns the port the user wants for MindSpore's scheduler, None if any will do.

    Raises:
        UserError: it is none.
    """
    text = os.environ.get("MS_SCHED_PORT", "")
    if job.master_port is not None or not text:
        return job.master_port
    if not (text.isdecimal() and 1024 <= int(text) <= 65535):
        raise UserError(f"the variable MS_SCHED_PORT is {text!r}, not a port from 1024 to 65535")
    return int(text)


def _scheduler_port(job: Job, host: str, attempt: int) -> int:
    """Returns the port of MindSpore's scheduler: another one for every attempt."""
    wanted = wanted_port(job)
    return ports.choose(host, None if wanted is None else wanted + attempt)


class Members:
    """The other nodes, none of them in a job of one node.

    Args:
        job: what is to run.
        part: node 0's part of it.
    """

    def __init__(self, job: Job, part: Part) -> None:
        self._job = job
        self._part = part
        self._listener: socket.socket | None = None
        self._stop: int | None = None
        # Nodes in the order in which they were seen to fail.
        self._failed: list[int] = []
        self.all: list[_Member] = []
        self.attempts = 0

    def __enter__(self) -> "Members":
        if self._part.nnodes > 1:
            _allow_connections(self._part.nnodes)
            port = self._job.control_port or ports.of_job(os.environ)
            self._listener = _listen(port)
        return self

    def __exit__(self, _type: object, error: BaseException | None, _traceback: object) -> None:
        if error is not None:
            mistake = isinstance(error, UserError)
            self.finish(USER_ERROR if mistake else 1)
        if self._listener:
            self._listener.close()

    @property
    def address(self) -> str | None:
        """The address of this machine by which the others reach it, None if there are none."""
        return self.all[0].channel.own_address if self.all else None

    def gather(self, signals: Signals) -> int | None:
        """Waits for the other nodes; returns a signal that came instead.

        Raises:
            UserError: not all have come in time, or one does not fit the others.
        """
        waiting: list[Channel] = []
        deadline = time.monotonic() + self._job.node_timeout
        while len(self.all) < self._part.nnodes - 1:
            assert self._listener is not None
            if stop := signals.wait(_POLL):
                return stop
            if stop := self._stopped_while_waiting():
                return stop
            waiting.extend(_accept(self._listener))
            for channel in list(waiting):
                if message := channel.receive_one():
                    waiting.remove(channel)
                    self._admit(channel, message)
            if time.monotonic() > deadline:
                missing = set(range(1, self._part.nnodes)) - {m.number for m in self.all}
                names = ", ".join(map(str, sorted(missing)))
                raise UserError(
                    f"node {names} of {self._part.nnodes} did not come within "
                    f"{self._job.node_timeout:g} s (is its launcher running, with the same "
                    "--nnodes and --master?)"
                )
        self.all.sort(key=lambda member: member.number)
        return None

    def _stopped_while_waiting(self) -> int | None:
        """Returns a signal that a node got which is here already; forgets those that have gone."""
        for member in list(self.all):
            for message in member.channel.receive():
                if message["kind"] == "stop":
                    return int(message["number"])
            if not member.channel.is_open:
                self.all.remove(member)  # it may come again
        return None

    def start(self, attempt: int, world: World, part: Part) -> None:
        """Has all nodes begin an attempt."""
        self.attempts += 1
        self._stop, self._failed = None, []
        first_rank = part.nproc
        for member in self.all:
            member.ended = None
            member.channel.send(
                "start",
                attempt=attempt,
                size=world.size,
                scheduler=world.scheduler,
                first_rank=first_rank,
            )
            first_rank += member.nproc

    def conclude(self, own: Ended, signals: Signals) -> Ended:
        """Waits for the other nodes and returns how the attempt ended on all of them together."""
        if own.cause is not None and 0 not in self._failed:
            self._failed.append(0)
        if self._failed:
            self._send("fail")
        if own.signal_number:
            self._send("stop", number=own.signal_number)
        stop = None
        deadline = time.monotonic() + self._job.grace + _TIME_TO_END
        while not self.finished():
            stop = stop or signals.wait(_POLL)
            if time.monotonic() > deadline:
                for member in self.all:
                    if member.ended is None:
                        self._lose(member, "does not answer")
        ended = {0: own} | {m.number: m.ended for m in self.all if m.ended}
        causes = {number: e.cause for number, e in ended.items() if e.cause is not None}
        numbers = [stop, self._stop, *(e.signal_number for e in ended.values())]
        signal_number = next((number for number in numbers if number), None)
        if causes:
            first = next((n for n in self._failed if n in causes), min(causes))
            steps = [c.step for c in causes.values() if c.step is not None]
            return Ended(replace(causes[first], step=max(steps, default=None)), signal_number)
        return Ended(signal_number=signal_number)

    def finish(self, code: int) -> int:
        """Tells all nodes that the job is over; returns the exit code."""
        self._send("finish", code=code)
        for member in self.all:
            member.channel.close()
        return code

    # --- what the supervisor asks (launch.supervisor.Nodes) --------------------------------

    def stopped(self) -> int | None:
        """See :class:`launch.supervisor.Nodes`."""
        self._listen_to_members()
        return self._stop

    def failed(self) -> bool:
        """See :class:`launch.supervisor.Nodes`."""
        self._listen_to_members()
        return bool(self._failed)

    def finished(self) -> bool:
        """See :class:`launch.supervisor.Nodes`."""
        self._listen_to_members()
        return all(member.ended is not None for member in self.all)

    def tell_stop(self, number: int) -> None:
        """See :class:`launch.supervisor.Nodes`."""
        self._send("stop", number=number)

    def tell_failed(self) -> None:
        """See :class:`launch.supervisor.Nodes`."""
        self._failed.append(0)
        self._send("fail")

    # ---------------------------------------------------------------------------------------

    def _listen_to_members(self) -> None:
        for member in self.all:
            for message in member.channel.receive():
                if message["kind"] == "stop" and self._stop is None:
                    self._stop = int(message["number"])
                    self._send("stop", number=self._stop)
                elif message["kind"] == "fail":
                    self._note_failure(member)
                elif message["kind"] == "ended":
                    member.ended = Ended.from_message(message)
                    if member.ended.cause is not None:
                        self._note_failure(member)
            if not member.channel.is_open and member.ended is None:
                self._lose(member, "is gone: its launcher was killed, or the network broke")

    def _note_failure(self, member: _Member) -> None:
        if member.number not in self._failed:
            self._failed.append(member.number)
            self._send("fail")

    def _lose(self, member: _Member, how: str) -> None:
        text = f"{member.name} {how}"
        member.ended = Ended(Cause(text, 1, text, is_final=True))
        self._note_failure(member)

    def _send(self, kind: str, **values: object) -> None:
        for member in self.all:
            member.channel.send(kind, **values)

    def _admit(self, channel: Channel, message: Message) -> None:
        """Takes in a node that has said who it is.

        Raises:
            UserError: it does not fit.
        """
        try:
            number, nnodes = int(message["node"]), int(message["nnodes"])
            member = _Member(number, str(message["host"]), int(message["nproc"]), channel)
            command = message["command"]
        except (KeyError, TypeError, ValueError):
            channel.close()  # a stranger: no launcher greets like this
            return
        problem = None
        if nnodes != self._part.nnodes:
            problem = f"{member.name} was started with --nnodes {nnodes}, not {self._part.nnodes}"
        elif any(other.number == number for other in self.all):
            problem = f"two nodes were started with --node-rank {number}"
        elif command != command_of(self._job):
            problem = f"{member.name} was started with another configuration or other settings"
        if problem:
            channel.send("refuse", text=problem)
            raise UserError(problem)
        self.all.append(member)
        here = len(self.all) + 1
        print(f"{member.name} has come: {here} of {nnodes} nodes are here", flush=True)


def command_of(job: Job) -> Sequence[str]:
    """Returns what all nodes must run alike; where Python is may differ."""
    return list(job.worker_command[1:])


def _allow_connections(nnodes: int) -> None:
    """Raises this process's limit of open files, 1024 by default, where it would not do.

    Raises:
        UserError: the system does not allow as many.
    """
    needed = nnodes + _OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise UserError(
            f"node 0 needs {needed} open files for {nnodes} nodes, but may have {hard} (ulimit -Hn)"
        )
    if soft != resource.RLIM_INFINITY and soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def _listen(port: int) -> socket.socket:
    """Listens on all addresses of this machine: the name of a node often means only one of them.

    Raises:
        UserError: the port is taken.
    """
    try:
        dual = socket.has_dualstack_ipv6()
        family = socket.AF_INET6 if dual else socket.AF_INET
        listener = socket.create_server(("", port), family=family, dualstack_ipv6=dual)
    except OSError as error:
        raise UserError(
            f"the launchers of this job cannot meet at port {port}: {error.strerror}; choose "
            "another with --master HOST:PORT, the same on all nodes"
        ) from None
    listener.setblocking(False)
    return listener


def _accept(listener: socket.socket) -> list[Channel]:
    channels: list[Channel] = []
    while True:
        try:
            connection, _ = listener.accept()
        except BlockingIOError:
            return channels
        channels.append(Channel(connection))


def _sleep(seconds: float, signals: Signals) -> int | None:
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        if stop := signals.wait(left):
            return stop
    return None


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)

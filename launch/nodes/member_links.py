"""The connections of node 0 to the other nodes: who is there, how they fare, what they are told."""

import contextlib
import hashlib
import resource
import signal
import socket
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from launch.job import Job
from launch.nodes.channel import Channel, Message
from launch.plan.placement import Placement
from launch.plan.processes import World
from launch.supervisor.attempt import Ended, OtherNodes
from launch.supervisor.child_process import Signals
from launch.supervisor.failure_report import Cause
from train.errors import USER_ERROR, UserError

_POLL = 0.1
# Seconds for another node to end its processes, on top of the grace time they have.
_TIME_TO_END = 20.0
# Seconds for the other nodes to upload their logs.
_TIME_TO_UPLOAD = 60.0
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
    is_lost: bool = False

    @property
    def name(self) -> str:
        return f"node {self.number} ({self.host})"


class MemberLinks(OtherNodes):
    """The other nodes, none of them in a job of one node.

    Args:
        placement: Node 0's place in the job.

    Attributes:
        all: The nodes that have come.
        attempts: How many attempts they have been told to make.
    """

    def __init__(self, placement: Placement) -> None:
        super().__init__()
        self._job = placement.job
        self._placement = placement
        self._listener: socket.socket | None = None
        # Which other nodes belong to the job.
        self._expected = set(range(1, placement.nnodes))
        # Connections that have not said who they are, and nodes that are not yet taken in.
        self._strangers: list[Channel] = []
        self._callers: list[tuple[Channel, Message]] = []
        # Nodes in the order in which they were seen to fail.
        self._failed_nodes: list[int] = []
        self.all: list[_Member] = []
        self.attempts = 0

    def __enter__(self) -> "MemberLinks":
        if self._placement.nnodes > 1:
            _allow_connections(self._placement.nnodes)
            self._listener = _listen(self._placement.meeting_port)
        return self

    def __exit__(self, _type: object, error: BaseException | None, _traceback: object) -> None:
        if error is not None:
            self.finish(USER_ERROR if isinstance(error, UserError) else 1)
        for member in self.all:
            member.channel.close()
        if self._listener:
            self._listener.close()

    @property
    def address(self) -> str | None:
        """The address of this machine by which the others reach it, None if there are none."""
        return self.all[0].channel.own_address if self.all else None

    # --- before and after an attempt -----------------------------------------------------------

    def gather(self, signals: Signals) -> int | None:
        """Wait for the other nodes; return a signal that came instead.

        Raises:
            UserError: Not all have come in time, or one does not fit the others.
        """
        deadline = time.monotonic() + self._job.node_timeout
        while missing := self._missing():
            if stop := signals.wait(_POLL) or self._stopped_while_waiting():
                return stop
            self._listen_for_callers()
            for channel, message in self._take_callers():
                if problem := self._admit(channel, message):
                    raise UserError(problem)
            if time.monotonic() > deadline:
                raise UserError(
                    f"node {_list(missing)} of {self._placement.nnodes} did not come within "
                    f"{self._job.node_timeout:g} s (is its launcher running, with the same "
                    "--nnodes and --master?)"
                )
        self.all.sort(key=lambda member: member.number)
        return None

    def gather_again(self, signals: Signals, min_nodes: int) -> int | None:
        """Wait for lost nodes to come back, or else go on without them.

        Returns:
            A signal that came instead.

        Raises:
            UserError: Too few nodes are left.
        """
        for member in self.all:
            if member.is_lost:
                member.channel.close()
        self.all = [member for member in self.all if not member.is_lost]
        wanted, seconds = self._placement.nnodes, self._job.node_timeout
        deadline = time.monotonic() + seconds
        if missing := self._missing():
            print(f"waiting for node {_list(missing)} to come back, {seconds:g} s", flush=True)
        while missing := self._missing():
            if stop := signals.wait(_POLL) or self._stopped_while_waiting():
                return stop
            self._listen_for_callers()
            for channel, message in self._take_callers():
                self._admit(channel, message)
            if time.monotonic() > deadline:
                here = len(self.all) + 1
                lost = f"node {_list(missing)} did not come back within {seconds:g} s"
                if here < min_nodes:
                    raise UserError(f"{lost}, and --min-nodes is {min_nodes}")
                print(f"{lost}: going on with {here} of {wanted} nodes", flush=True)
                self._expected -= missing
        self.all.sort(key=lambda member: member.number)
        return None

    def _missing(self) -> set[int]:
        return self._expected - {member.number for member in self.all if not member.is_lost}

    def _listen_for_callers(self) -> None:
        """Let whoever connects say who it is; refuse nodes that nobody waits for."""
        if self._listener is None:
            return
        with contextlib.suppress(BlockingIOError):
            while True:
                self._strangers.append(Channel(self._listener.accept()[0]))
        for channel in list(self._strangers):
            for message in channel.receive(most=1):
                self._strangers.remove(channel)
                self._callers.append((channel, message))

    def _take_callers(self) -> list[tuple[Channel, Message]]:
        taken, self._callers = self._callers, []
        return taken

    def _stopped_while_waiting(self) -> int | None:
        """Return a signal that a node got which is here already; forget those that have gone."""
        for member in list(self.all):
            for message in member.channel.receive():
                if message["kind"] == "stop":
                    return int(message["number"])
            if not member.channel.is_open:
                self.all.remove(member)  # it may come again
        return None

    def _admit(self, channel: Channel, message: Message) -> str | None:
        """Take in a node that has said who it is; if it does not fit return why, and tell it."""
        try:
            number, nnodes = int(message["node"]), int(message["nnodes"])
            member = _Member(number, str(message["host"]), int(message["nproc"]), channel)
            command = message["command"]
        except (KeyError, TypeError, ValueError):
            channel.close()  # a stranger: no launcher greets like this
            return None
        problem, wanted = None, self._placement.nnodes
        if nnodes != wanted:
            problem = f"{member.name} was started with --nnodes {nnodes}, not {wanted}"
        elif any(other.number == number for other in self.all):
            problem = f"two nodes were started with --node-rank {number}"
        elif number not in self._expected:
            problem = f"{member.name} comes too late: the job goes on without it"
        elif command != command_of(self._job):
            problem = f"{member.name} was started with another configuration or other settings"
        if problem:
            channel.send("refuse", text=problem)
            return problem
        self.all.append(member)
        here = len(self.all) + 1
        print(f"{member.name} has come: {here} of {nnodes} nodes are here", flush=True)
        return None

    def start(self, attempt: int, world: World) -> None:
        """Have all nodes begin an attempt."""
        self.attempts += 1
        self.stop, self.failed, self.hung, self._failed_nodes = None, False, False, []
        order = {"attempt": attempt, "size": world.size, "scheduler": world.scheduler}
        first_rank = self._placement.nproc
        for member in self.all:
            member.ended = None
            member.channel.send("start", first_rank=first_rank, **order)
            first_rank += member.nproc

    def conclude(self, own: Ended, signals: Signals) -> Ended:
        """Wait for the other nodes and return how the attempt ended on all of them together."""
        if own.cause is not None:
            self._note_failure(0)
        if own.signal_number:
            self.send("stop", number=own.signal_number)
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
        numbers = [stop, self.stop, *(e.signal_number for e in ended.values())]
        signal_number = next((number for number in numbers if number), None)
        if causes:
            first = next((n for n in self._failed_nodes if n in causes), min(causes))
            steps = [c.step for c in causes.values() if c.step is not None]
            cause = replace(causes[first], step=max(steps, default=None))
            if cause.hung:
                hung = tuple(rank for c in causes.values() for rank in c.hung)
                cause = replace(cause, hung=hung)
            return Ended(cause, signal_number)
        return Ended(signal_number=signal_number)

    def finish(self, code: int, numbers: Mapping[int, int] | None = None) -> int:
        """Tell all nodes that the job is over, and the attempts' numbers in object storage."""
        self.send("finish", code=code, numbers=numbers or {})
        return code

    def wait_for_logs(self, signals: Signals) -> None:
        """Wait until the other nodes have uploaded their logs and gone.

        A job manager may end all launchers when the first has ended.
        """
        deadline = time.monotonic() + _TIME_TO_UPLOAD
        while any(member.channel.is_open for member in self.all):
            if signals.wait(_POLL) == signal.SIGINT or time.monotonic() > deadline:
                return
            self.listen()

    # --- during an attempt: what the supervisor asks for ---------------------------------------

    def listen(self) -> None:
        """Take note of what the other nodes have said, and pass it on."""
        for member in self.all:
            for message in member.channel.receive():
                if message["kind"] == "stop" and self.stop is None:
                    self.stop = int(message["number"])
                    self.send("stop", number=self.stop)
                elif message["kind"] == "request":
                    self.requests.add(int(message["number"]))
                    self._tell_others(member, "request", number=message["number"])
                elif message["kind"] == "hang":
                    self.hung = True
                    self._tell_others(member, "hang")
                elif message["kind"] == "fail":
                    self._note_failure(member.number)
                elif message["kind"] == "ended":
                    member.ended = Ended.from_message(message)
                    if member.ended.cause is not None:
                        self._note_failure(member.number)
            if not member.channel.is_open and member.ended is None:
                self._lose(member, "is gone: its launcher was killed, or the network broke")
        # After that: whoever comes again shall not be taken for a second node of its number.
        self._listen_for_callers()
        if not self._missing():  # or else they wait for the restart
            for channel, message in self._take_callers():
                self._admit(channel, message)

    def send(self, kind: str, **values: object) -> None:
        """Tell all nodes something."""
        for member in self.all:
            member.channel.send(kind, **values)

    def finished(self) -> bool:
        """Return whether all nodes have ended the attempt."""
        self.listen()
        return all(member.ended is not None for member in self.all)

    def _tell_others(self, member: _Member, kind: str, **values: object) -> None:
        for other in self.all:
            if other is not member:
                other.channel.send(kind, **values)

    def _note_failure(self, number: int) -> None:
        if number not in self._failed_nodes:
            self.failed = True
            self._failed_nodes.append(number)
            self.send("fail")

    def _lose(self, member: _Member, how: str) -> None:
        text = f"{member.name} {how}"
        member.is_lost = True
        member.ended = Ended(Cause(text, 1, text, is_final=self._job.min_nodes is None))
        self._note_failure(member.number)


def _list(numbers: Iterable[int]) -> str:
    return ", ".join(map(str, sorted(numbers)))


def command_of(job: Job) -> str:
    """Return a digest of what all nodes must run alike; where Python is may differ.

    What it is may hold keys, and anybody can listen.
    """
    words = "\0".join(job.worker_command[1:]).encode(errors="surrogateescape")
    return hashlib.sha256(words).hexdigest()


def _allow_connections(nnodes: int) -> None:
    """Raise this process's limit of open files, 1024 by default, where it would not do."""
    needed = nnodes + _OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise UserError(
            f"node 0 needs {needed} open files for {nnodes} nodes, but may have {hard} (ulimit -Hn)"
        )
    if soft != resource.RLIM_INFINITY and soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def _listen(port: int) -> socket.socket:
    """Listen on all addresses of this machine: the name of a node often means only one of them."""
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

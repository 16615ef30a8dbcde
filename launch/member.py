"""Every node but the first: does what node 0 says, and tells it what happens here."""

import os
import socket
import sys
import time

from launch import ports
from launch.attempt import Ended, log_folder, make_log_folder, node_of, run_attempt
from launch.channel import Channel, Message
from launch.description import Job
from launch.devices import Machine
from launch.failure import Cause
from launch.leader import command_of
from launch.part import Part
from launch.plan import World
from launch.signals import Signals
from train.errors import USER_ERROR, UserError, error_text

_POLL = 0.1
_CONNECT_SECONDS = 5.0
# Seconds for node 0 to act and tell, on top of the time it has for something.
_TIME_TO_SAY_SO = 10.0


def follow(job: Job, part: Part, machine: Machine, signals: Signals) -> int:
    """Runs this node's share of every attempt and returns the exit code of the launcher.

    Raises:
        UserError: node 0 cannot be reached, or does not want this node.
    """
    channel = _connect(job, part, signals)
    if isinstance(channel, int):
        return 128 + channel
    leader = Leader(channel, job.grace)
    channel.send(
        "hello",
        node=part.node,
        nnodes=part.nnodes,
        nproc=part.nproc,
        host=socket.gethostname(),
        command=command_of(job),
    )
    # Node 0 waits as long for the others, then it says so.
    first_order_by = time.monotonic() + job.node_timeout + _TIME_TO_SAY_SO
    while True:
        order = leader.next_order(signals, first_order_by)
        first_order_by = float("inf")
        if order["kind"] == "refuse":
            raise UserError(str(order["text"]))
        if order["kind"] == "finish":
            return int(order["code"])
        if order["kind"] == "silent":
            raise UserError(
                f"node 0 at {part.master} answers, but does not start the job within "
                f"{job.node_timeout:g} s (is another job using this port? --master HOST:PORT)"
            )
        if order["kind"] == "gone":
            _say(f"node 0 ({part.master}) is gone: its launcher was killed, or the network broke")
            return 1
        ended = _attempt(job, part, order, machine, signals, leader)
        channel.send("ended", **ended.to_message())


def _attempt(
    job: Job, part: Part, order: Message, machine: Machine, signals: Signals, leader: "Leader"
) -> Ended:
    attempt, scheduler = int(order["attempt"]), order["scheduler"]
    world = World(int(order["size"]), (scheduler[0], scheduler[1]) if scheduler else None)
    host = socket.gethostname()
    node = node_of(part, part.node, host, int(order["first_rank"]), part.nproc)
    log_dir = log_folder(job.run_dir, attempt)
    print(
        f"node {part.node}: starting ranks {node.first_rank} to {node.first_rank + node.nproc - 1} "
        f"of {world.size}, logs in {log_dir}",
        flush=True,
    )
    try:
        make_log_folder(job.run_dir, attempt, shared=True)
        return run_attempt(job, part, node, world, log_dir, machine, signals, leader)
    except UserError as error:
        text = error_text(f"node {part.node} ({host}): {error}")
        return Ended(Cause(text, USER_ERROR, text, is_final=True))


class Leader:
    """Node 0 as the others see it (a :class:`launch.supervisor.Nodes`)."""

    def __init__(self, channel: Channel, grace: float) -> None:
        self._channel = channel
        self._grace = grace
        self._orders: list[Message] = []
        self._stop: int | None = None
        self._failed = False

    def next_order(self, signals: Signals, deadline: float) -> Message:
        """Waits for what to do next: "start", "finish" or "refuse".

        It is "gone" if node 0 is, "silent" if it has not answered by the deadline, and "finish"
        also if it takes no notice of a signal that came here.
        """
        code = 0
        while not self._orders:
            self._listen()
            if not self._channel.is_open and not self._orders:
                return {"kind": "gone"}
            if time.monotonic() > deadline:
                return {"kind": "finish", "code": code} if code else {"kind": "silent"}
            if stop := signals.wait(_POLL):
                self.tell_stop(stop)
                code = 128 + stop
                deadline = min(deadline, time.monotonic() + self._grace + _TIME_TO_SAY_SO)
        return self._orders.pop(0)

    def stopped(self) -> int | None:
        """See :class:`launch.supervisor.Nodes`."""
        self._listen()
        return self._stop

    def failed(self) -> bool:
        """See :class:`launch.supervisor.Nodes`."""
        self._listen()
        return self._failed or not self._channel.is_open

    def finished(self) -> bool:
        """See :class:`launch.supervisor.Nodes`."""
        return True

    def tell_stop(self, number: int) -> None:
        """See :class:`launch.supervisor.Nodes`."""
        self._channel.send("stop", number=number)

    def tell_failed(self) -> None:
        """See :class:`launch.supervisor.Nodes`."""
        self._channel.send("fail")

    def _listen(self) -> None:
        for message in self._channel.receive():
            if message["kind"] == "stop":
                self._stop = int(message["number"])
            elif message["kind"] == "fail":
                self._failed = True
            else:
                # What came before belongs to the attempt before.
                self._stop, self._failed = None, False
                self._orders.append(message)


def _connect(job: Job, part: Part, signals: Signals) -> Channel | int:
    """Connects to node 0, which may start later and whose name may not be known yet.

    Returns:
        The connection, or the number of a signal that came instead.

    Raises:
        UserError: it could not be reached in time.
    """
    port = job.control_port or ports.of_job(os.environ)
    deadline = time.monotonic() + job.node_timeout
    while True:
        try:
            return Channel(socket.create_connection((part.master, port), _CONNECT_SECONDS))
        except OSError as error:
            problem = error.strerror or str(error)
        if stop := signals.wait(1.0):
            return stop
        if time.monotonic() > deadline:
            raise UserError(
                f"node {part.node} could not reach node 0 at {part.master}:{port} within "
                f"{job.node_timeout:g} s: {problem}"
            )


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)

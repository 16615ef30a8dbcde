"""Every node but the first: does what node 0 says, and tells it what happens here."""

import socket
import sys
import time
from dataclasses import asdict

from launch.last_upload import upload_rest
from launch.log_folders import log_folder, make_log_folder
from launch.nodes.channel import Channel, Message
from launch.nodes.member_links import command_of
from launch.plan.placement import Placement
from launch.plan.processes import World
from launch.supervisor.attempt import Ended, OtherNodes, run_attempt
from launch.supervisor.child_process import Signals
from launch.supervisor.failure_report import Cause
from train.errors import USER_ERROR, UserError, error_text
from train.storage.run_mirror import note_number

_POLL = 0.1
# Seconds for node 0 to act and tell, on top of the time it has for something.
_TIME_TO_SAY_SO = 10.0


def follow(placement: Placement, signals: Signals) -> int:
    """Run this node's share of every attempt and return the exit code of the launcher.

    Raises:
        UserError: Node 0 cannot be reached, or does not want this node.
    """
    leader = _connect(placement, signals)
    if isinstance(leader, int):
        return 128 + leader
    leader.send(
        "hello",
        node=placement.node,
        nnodes=placement.nnodes,
        nproc=placement.nproc,
        host=socket.gethostname(),
        command=command_of(placement.job),
    )
    code = upload_rest(placement.job, _obey(placement, signals, leader), signals)
    leader.channel.close()
    return code


def _obey(placement: Placement, signals: Signals, leader: "LeaderLink") -> int:
    """Do what node 0 says until the job is over; return the exit code."""
    job = placement.job
    attempts: list[int] = []
    # Node 0 waits as long for the others, then it says so.
    first_order_by = time.monotonic() + job.node_timeout + _TIME_TO_SAY_SO
    while True:
        order = leader.next_order(signals, float("inf") if attempts else first_order_by)
        if order["kind"] == "start":
            attempts.append(int(order["attempt"]))
            leader.send("ended", **asdict(_attempt(placement, order, signals, leader)))
        elif order["kind"] == "refuse":
            raise UserError(str(order["text"]))
        elif order["kind"] == "silent":
            raise UserError(
                f"node 0 at {placement.master} answers, but does not start the job within "
                f"{job.node_timeout:g} s (is another job using this port? --master HOST:PORT)"
            )
        elif order["kind"] == "gone":
            text = "is gone: its launcher was killed, or the network broke"
            print(f"node 0 ({placement.master}) {text}", file=sys.stderr, flush=True)
            return 1
        else:
            for attempt, number in order.get("numbers", {}).items():
                if int(attempt) in attempts:
                    note_number(job.run_dir, int(attempt), number)
            return int(order["code"])


def _attempt(placement: Placement, order: Message, signals: Signals, leader: "LeaderLink") -> Ended:
    run_dir = placement.job.run_dir
    attempt, first_rank = int(order["attempt"]), int(order["first_rank"])
    scheduler = order["scheduler"]
    world = World(int(order["size"]), (scheduler[0], scheduler[1]) if scheduler else None)
    print(
        f"node {placement.node}: starting ranks {first_rank} to "
        f"{first_rank + placement.nproc - 1} of {world.size}, "
        f"logs in {log_folder(run_dir, attempt)}",
        flush=True,
    )
    try:
        make_log_folder(run_dir, attempt)  # which may be node 0's, and there
        return run_attempt(placement, attempt, first_rank, world, signals, leader)
    except UserError as error:
        text = error_text(f"node {placement.node} ({socket.gethostname()}): {error}")
        return Ended(Cause(text, USER_ERROR, text, is_final=True))


class LeaderLink(OtherNodes):
    """Node 0 as another node sees it.

    Args:
        channel: The connection, which the owner closes in the end.
        grace: Seconds that ranks have to end after a signal.
    """

    def __init__(self, channel: Channel, grace: float) -> None:
        super().__init__()
        self.channel = channel
        self._grace = grace
        self._orders: list[Message] = []

    def next_order(self, signals: Signals, deadline: float) -> Message:
        """Wait for what to do next: "start", "finish" or "refuse".

        It is "gone" if node 0 is, "silent" if it has not answered by the deadline, and "finish"
        also if it takes no notice of a signal that came here.
        """
        code = 0
        while not self._orders:
            self.listen()
            if not self.channel.is_open and not self._orders:
                return {"kind": "gone"}
            if time.monotonic() > deadline:
                return {"kind": "finish", "code": code} if code else {"kind": "silent"}
            if stop := signals.wait(_POLL):
                self.send("stop", number=stop)
                code = 128 + stop
                deadline = min(deadline, time.monotonic() + self._grace + _TIME_TO_SAY_SO)
        return self._orders.pop(0)

    def listen(self) -> None:
        """Take note of what node 0 has said; without it this node cannot go on."""
        for message in self.channel.receive():
            if message["kind"] == "stop":
                self.stop = int(message["number"])
            elif message["kind"] == "request":
                self.requests.add(int(message["number"]))
            elif message["kind"] == "hang":
                self.hung = True
            elif message["kind"] == "fail":
                self.failed = True
            else:
                # What came before belongs to the attempt before.
                self.stop, self.failed, self.hung = None, False, False
                self._orders.append(message)
        self.failed = self.failed or not self.channel.is_open

    def send(self, kind: str, **values: object) -> None:
        """Tell node 0 something, which passes it on."""
        self.channel.send(kind, **values)

    def finished(self) -> bool:
        """Say yes: node 0 waits for all."""
        return True


def _connect(placement: Placement, signals: Signals) -> LeaderLink | int:
    """Connect to node 0, which may start later and whose name may not be known yet.

    Returns:
        The connection, or the number of a signal that came instead.

    Raises:
        UserError: It could not be reached in time.
    """
    job = placement.job
    port = placement.meeting_port
    deadline = time.monotonic() + job.node_timeout
    while True:
        try:
            connection = socket.create_connection((placement.master, port), 5.0)
            return LeaderLink(Channel(connection), job.grace)
        except OSError as error:
            problem = error.strerror or str(error)
        if stop := signals.wait(1.0):
            return stop
        if time.monotonic() > deadline:
            raise UserError(
                f"node {placement.node} could not reach node 0 at {placement.master}:{port} "
                f"within {job.node_timeout:g} s: {problem}"
            )

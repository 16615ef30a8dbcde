"""What another node makes of the messages of node 0."""

import socket
import time

from launch.nodes.channel import Channel
from launch.nodes.member import LeaderLink
from launch.supervisor.child_process import Signals


class NoSignals(Signals):
    """None comes."""

    def wait(self, seconds: float) -> None:
        time.sleep(seconds)


def told(link: LeaderLink) -> tuple[int | None, bool, bool]:
    return link.stop, link.failed, link.hung


def test_what_came_before_a_start_belongs_to_the_attempt_before(
    ends: tuple[Channel, socket.socket],
) -> None:
    """Or else the next attempt would end at once, as the one before did."""
    link, node_0 = LeaderLink(ends[0], grace=1.0), Channel(ends[1])
    node_0.send("stop", number=15)
    for kind in ("fail", "hang"):
        node_0.send(kind)
    deadline = time.monotonic() + 20
    while told(link) != (15, True, True):
        assert time.monotonic() < deadline
        link.listen()
    node_0.send("start", attempt=1)
    assert link.next_order(NoSignals(), deadline) == {"kind": "start", "attempt": 1}
    assert told(link) == (None, False, False)

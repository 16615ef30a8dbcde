"""Messages between launchers, and what strangers send to the same port."""

import socket
from typing import Any

import pytest

from launch.nodes import channel
from launch.nodes.channel import Channel


def test_what_is_no_message_is_passed_over(ends: tuple[Channel, socket.socket]) -> None:
    ours, theirs = ends
    for line in ("GET / HTTP/1.1", "[" * 100_000, "9" * 5000, "[]", '{"a": 1}', '{"kind": "x"}'):
        theirs.sendall(f"{line}\n".encode())
    found: list[dict[str, Any]] = []
    while not found:
        found = ours.receive()
    assert found == [{"kind": "x"}] and ours.is_open


def test_who_sends_without_end_is_not_listened_to(
    ends: tuple[Channel, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channel, "_MOST_BYTES", 10_000)
    ours, theirs = ends
    theirs.sendall(b"x" * 20_000)
    while ours.is_open:
        assert ours.receive() == []

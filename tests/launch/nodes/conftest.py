"""A connection between two launchers."""

import socket
from collections.abc import Iterator

import pytest

from launch.nodes.channel import Channel


@pytest.fixture
def ends() -> Iterator[tuple[Channel, socket.socket]]:
    """Ours, and that of whoever has connected."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        theirs = socket.create_connection(server.getsockname())
        ours = Channel(server.accept()[0])
    yield ours, theirs
    ours.close()
    theirs.close()

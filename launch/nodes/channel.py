"""JSON messages between the launchers of a job, one a line, read without waiting."""

import contextlib
import json
import socket
from typing import Any

from train.files import parse_json

Message = dict[str, Any]

# Seconds without a sign of life from the other machine until the connection counts as broken.
_SILENCE = 30
# More than all that launchers have to say between two looks; anybody may connect to our port.
_MOST_BYTES = 2**20


class Channel:
    """One end of a connection.

    Args:
        connection: A connected TCP socket; belongs to the channel from now on.

    Attributes:
        is_open: Whether the other end has neither closed the connection nor fallen silent.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._buffer = b""
        self.is_open = True
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _SILENCE // 3)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _SILENCE // 6)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 4)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _SILENCE * 1000)

    @property
    def own_address(self) -> str:
        """Address of this machine by which the other end reaches it."""
        # A socket for both families shows IPv4 addresses as IPv4-mapped IPv6.
        return str(self._connection.getsockname()[0]).removeprefix("::ffff:")

    def send(self, kind: str, **values: Any) -> None:
        """Send a message; to a broken connection it sends nothing."""
        line = json.dumps({"kind": kind, **values}).encode() + b"\n"
        try:
            self._connection.settimeout(10.0)
            self._connection.sendall(line)
        except OSError:
            self.is_open = False

    def receive(self, most: int | None = None) -> list[Message]:
        """Return the messages that are there and not yet returned, at most ``most`` of them."""
        self._read()
        messages: list[Message] = []
        while b"\n" in self._buffer and len(messages) != most:
            line, _, self._buffer = self._buffer.partition(b"\n")
            with contextlib.suppress(ValueError):  # whatever else talks to our port
                message = parse_json(line)
                if isinstance(message, dict) and "kind" in message:
                    messages.append(message)
        return messages

    def _read(self) -> None:
        try:
            self._connection.settimeout(0)
            while chunk := self._connection.recv(65536):
                self._buffer += chunk
                if len(self._buffer) > _MOST_BYTES:
                    break
            self.is_open = False
        except BlockingIOError:
            pass
        except OSError:
            self.is_open = False

    def close(self) -> None:
        """Close the connection."""
        self.is_open = False
        self._connection.close()

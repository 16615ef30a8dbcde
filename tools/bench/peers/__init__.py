"""What is measured: one class per program, made and asked by ``tools.bench.worker``."""

from typing import Any


class Peer:
    """Base of them; what is asked of one is the name of a method, whose time is taken.

    Args:
        spec: What it is to do, plain values; among them ``cores``, those of every rank, and
            ``folder``, where the ranks may meet.
        rank: This rank.

    Attributes:
        info: What the report should hold of it, for instance versions; plain values.
    """

    def __init__(self, spec: dict[str, Any], rank: int) -> None:
        self.info: dict[str, Any] = {}

    def close(self) -> None:
        """Leave the other ranks, if there are any."""

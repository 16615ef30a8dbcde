"""What the plugin has called: the log of the stand-in, read back."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

_Kind = TypeVar("_Kind")


@dataclass(frozen=True)
class Launch:
    """Something that the device was told to compute.

    Attributes:
        interface: "aclnn" or "aclop" (a kernel of CANN's binaries), "online" (aclop, compiled at
            the first launch), "kernel" (one that MindSpore has fused) or "graph" (a whole graph of
            GE).
        operator: Its name, such as ``aclnnAdd`` or ``Conv2D``; of a graph its number.
        tensors: Types and shapes of its tensors, inputs first, such as ``float32[2,3]``.
    """

    interface: str
    operator: str
    tensors: tuple[str, ...] = ()


@dataclass(frozen=True)
class Copy:
    """A copy of memory.

    Attributes:
        direction: "h2d", "d2h" or "d2d"; h: host, d: device.
        bytes: How much.
        blocking: Whether the call returns only when it is done.
    """

    direction: str
    bytes: int
    blocking: bool


@dataclass(frozen=True)
class Sync:
    """The host waited for the device.

    Attributes:
        on: "stream", "device" or "event".
    """

    on: str


@dataclass(frozen=True)
class Collective:
    """A collective of HCCL.

    Attributes:
        operation: "AllReduce", "Broadcast" or "Barrier".
        type: Type of the numbers; empty for a barrier.
        count: How many.
        detail: The reduction, or the root.
    """

    operation: str
    type: str = ""
    count: int = 0
    detail: str = ""


@dataclass(frozen=True)
class Join:
    """This process became a rank of a communicator."""

    size: int
    rank: int
    device: int


@dataclass(frozen=True)
class Node:
    """An operator in a graph that was given to GE.

    Attributes:
        graph: Number of the graph.
        type: Name of the operator.
        output: Type and shape of its output, where MindSpore said so.
    """

    graph: int
    type: str
    output: str


@dataclass(frozen=True)
class Mark:
    """What the program wanted to remember here (``stand_in_mark``)."""

    text: str


@dataclass(frozen=True)
class Other:
    """Any other call: its first word (CALL, EVENT, OPTION, MEMORY, ...) and the rest."""

    kind: str
    text: str


Call = Launch | Copy | Sync | Collective | Join | Node | Mark | Other


@dataclass(frozen=True)
class Process:
    """The calls of one process, in their order."""

    pid: int
    calls: tuple[Call, ...]

    def of(self, kind: type[_Kind]) -> list[_Kind]:
        """Return the calls of a kind."""
        return [call for call in self.calls if isinstance(call, kind)]

    def between(self, begin: str, end: str) -> "Process":
        """Return what was called between two marks, the first ones with these texts."""
        start = self.calls.index(Mark(begin)) + 1
        return Process(self.pid, self.calls[start : self.calls.index(Mark(end), start)])


def read_calls(log: Path) -> list[Process]:
    """Return the processes that have written to a log, by number.

    Args:
        log: What :meth:`StandIn.environment` was given.
    """
    files = [path for path in log.parent.glob(f"{log.name}.*") if path.suffix[1:].isdecimal()]
    numbers = sorted(int(path.suffix[1:]) for path in files)
    return [Process(n, tuple(_read(log.with_name(f"{log.name}.{n}")))) for n in numbers]


def _read(path: Path) -> Iterator[Call]:
    with path.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            kind, _, text = line.rstrip("\n").partition(" ")
            yield _READERS.get(kind, lambda text, kind=kind: Other(kind, text))(text)


def _launch(text: str) -> Launch:
    interface, operator, *tensors = text.split(" ")
    return Launch(interface, operator, tuple(tensors))


def _copy(text: str) -> Copy:
    how, direction, count = text.split(" ")
    return Copy(direction, int(count), how == "blocking")


def _hccl(text: str) -> Call:
    operation, *words = text.split(" ")
    if operation == "CommInit":
        return Join(*(int(word.split("=")[1]) for word in words))
    if operation in ("AllReduce", "Broadcast"):
        return Collective(operation, words[0], int(words[1]), words[2])
    return Collective(operation) if operation == "Barrier" else Other("HCCL", text)


def _node(text: str) -> Node:
    graph, kind, output = text.split(" ")
    return Node(int(graph), kind, output)


_READERS: dict[str, Callable[[str], Call]] = {
    "LAUNCH": _launch,
    "COPY": _copy,
    "SYNC": Sync,
    "HCCL": _hccl,
    "NODE": _node,
    "MARK": Mark,
}

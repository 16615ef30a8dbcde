"""What a check has found, read from the log of the stand-in and the output of MindSpore."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.ascend.stand_in.calls import (
    Collective,
    Copy,
    Launch,
    Mark,
    Node,
    Process,
    Sync,
)
from tools.ascend_check.probe import FIRST_BATCH, FIRST_STEP, LAST_BATCH, LAST_STEP

# What MindSpore says of operators that cannot be converted for GE, or for which
# it takes a kernel of the host's CPU, as the device has none.
_REFUSALS = (
    re.compile(r"Unsupported op type list: (.+)"),
    re.compile(r"Cannot get adapter for \S*?(\w+)-op\d+"),
    re.compile(r"Try to use backoff CPU kernel, node: ?\S*?(\w+)-op\d+"),
)
_CASTS = ("aclnnCast", "Cast")


@dataclass(frozen=True)
class Messages:
    """Collectives in their order.

    Attributes:
        operations: Operation, type and count of numbers of each.
    """

    operations: tuple[tuple[str, str, int], ...] = ()

    @property
    def bytes(self) -> int:
        """Return the bytes of all messages."""
        return sum(count * _size(kind) for _, kind, count in self.operations)


@dataclass(frozen=True)
class Work:
    """What a step, or a batch of the evaluation, makes the device and the host do, on average.

    Attributes:
        launches: By interface and operator.
        casts: Launches that change a type, or nodes of a graph that do.
        copies: By direction ("h2d", "d2h", "d2d") and whether the host waits for it.
        syncs: By what the host waits for ("stream", "device", "event").
        messages: The collectives.
        nodes: Operators in the graph, where GE runs it as a whole.
    """

    launches: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    casts: float = 0
    copies: Mapping[str, float] = field(default_factory=dict)
    copied: float = 0
    syncs: Mapping[str, float] = field(default_factory=dict)
    messages: Messages = Messages()
    nodes: int = 0

    @property
    def total(self) -> float:
        """Return the number of launches."""
        return sum(sum(operators.values()) for operators in self.launches.values())

    def of(self, interface: str) -> float:
        """Return the number of launches through an interface."""
        return sum(self.launches.get(interface, {}).values())

    @property
    def waits(self) -> float:
        """Return how often the host waits for the device."""
        return sum(self.syncs.values())


@dataclass(frozen=True)
class Result:
    """What a check has found.

    Attributes:
        chip: The chip, or where it runs.
        level: ``jit_level``.
        ranks: Number of ranks.
        refused: Operators that cannot be converted or have no kernel.
        errors: What went wrong, by part ("start", "step", "evaluation"): the last line of it.
        step: Per training step without a line of the log; None if it is unknown.
        evaluation: Per batch of the evaluation; None if it is unknown.
        consolidation: Collectives from the last step to the evaluation.
        memory: Bytes of the device at the peak, as MindSpore's allocator counts them; None if
            unknown.
    """

    chip: str
    level: str
    ranks: int
    refused: tuple[str, ...] = ()
    errors: Mapping[str, str] = field(default_factory=dict)
    step: Work | None = None
    evaluation: Work | None = None
    consolidation: Messages | None = None
    memory: int | None = None

    @property
    def passed(self) -> bool:
        """Return whether everything compiled and ran."""
        return not self.refused and not self.errors


def refused_operators(output: str) -> tuple[str, ...]:
    """Return the operators that MindSpore named as impossible, in alphabetical order."""
    found = (match[1] for pattern in _REFUSALS for match in pattern.finditer(output))
    return tuple(sorted({name for text in found for name in re.findall(r"\w+", text)}))


def work_of_steps(process: Process) -> Work | None:
    """Return what a step did, None if the steps came to no end."""
    return _work(process, "step", LAST_STEP - FIRST_STEP)


def work_of_batches(process: Process) -> Work | None:
    """Return what an evaluation batch did, None if the batches came to no end."""
    return _work(process, "batch", LAST_BATCH - FIRST_BATCH)


def messages_after_steps(process: Process) -> Messages | None:
    """Return the collectives of the consolidation point."""
    begin, end = f"step {LAST_STEP} done", "batch 0"
    if not _has(process, begin, end):
        return None
    return _messages(process.between(begin, end).of(Collective))


def _work(process: Process, name: str, times: int) -> Work | None:
    begin, end, drained = (f"{name} {word}" for word in ("begin", "end", "drained"))
    if not _has(process, begin, drained):
        return None
    on_device, on_host = process.between(begin, drained), process.between(begin, end)
    launches: dict[str, Counter[str]] = {}
    for launch in on_device.of(Launch):
        launches.setdefault(launch.interface, Counter())[launch.operator] += 1
    casts = sum(launches[i][name] for i in launches for name in _CASTS)
    collectives = on_device.of(Collective)
    nodes: list[Node] = []
    for number in launches.get("graph", ()):
        nodes += [node for node in process.of(Node) if node.graph == int(number)]
    copies = [copy for copy in on_device.of(Copy) if copy.direction != "h2h"]
    waiting = Counter(_kind_of(copy) for copy in copies)
    return Work(
        {i: _mean(operators, times) for i, operators in sorted(launches.items())},
        casts / times + sum(node.type == "Cast" for node in nodes),
        _mean(waiting, times),
        sum(copy.bytes for copy in copies) / times,
        _mean(Counter(sync.on for sync in on_host.of(Sync)), times),
        _messages([*collectives[: len(collectives) // times], *_in_graph(nodes)]),
        len(nodes),
    )


def _in_graph(nodes: Iterable[Node]) -> Iterable[Collective]:
    """Return the collectives that are nodes of a graph; their order is GE's to choose."""
    for node in nodes:
        if node.type.startswith("Hcom"):
            kind, _, dims = node.output.rstrip("]").partition("[")
            count = 1
            for size in filter(None, dims.split(",")):
                count *= int(size)
            yield Collective(node.type.removeprefix("Hcom"), kind, count)


def _has(process: Process, *marks: str) -> bool:
    return all(Mark(mark) in process.calls for mark in marks)


def _mean(counts: Mapping[str, int], times: int) -> dict[str, float]:
    means = {name: count / times for name, count in sorted(counts.items())}
    return {name: int(mean) if mean.is_integer() else mean for name, mean in means.items()}


def _kind_of(copy: Copy) -> str:
    return f"{copy.direction} {'blocking' if copy.blocking else 'async'}"


def _messages(collectives: Iterable[Collective]) -> Messages:
    return Messages(tuple((c.operation, c.type, c.count) for c in collectives))


def _size(kind: str) -> int:
    bits = re.search(r"\d+$", kind)
    return int(bits[0]) // 8 if bits else 0


def as_tree(result: Result) -> dict[str, Any]:
    """Return a result for JSON."""

    def tree(value: object) -> Any:
        return {k: tree(v) for k, v in vars(value).items()} if hasattr(value, "__dict__") else value

    found: dict[str, Any] = tree(result)
    return found

"""The machines of devices.yaml: how quick a device is, and how long a reduction takes.

A message of n bytes takes alpha + n * beta seconds between two ranks (Hockney, "The communication
challenge for MPP", Parallel Computing 20, 1994). The formulas of the algorithms are those of
Thakur, Rabenseifner and Gropp, "Optimization of Collective Communication Operations in MPICH",
IJHPCA 19, 2005, and, for the ring, of Patarasuk and Yuan, "Bandwidth optimal all-reduce algorithms
for clusters of workstations", JPDC 69, 2009. The time to add numbers is part of beta.

p = ranks, n = bytes of the message of each rank.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import yaml

# A forward pass, and two products as large for the gradients of a layer's input and weights; a
# multiplication comes with an addition.
OPERATIONS = 3 * 2


@dataclass(frozen=True)
class Links:
    """What connects any two of some ranks.

    Attributes:
        alpha: Seconds that a message costs, whatever its size.
        beta: Seconds per byte, in one direction while the other one is busy as well.
        algorithms: Those that the library chooses from; it is taken to choose the quickest.
    """

    alpha: float
    beta: float
    algorithms: Sequence[str] = ("ring",)

    def all_reduce(self, ranks: int, size: float) -> float:
        """Return the seconds of an all-reduce of ``size`` bytes over so many ranks."""
        if ranks == 1:
            return 0.0
        return min(ALGORITHMS[name](self, ranks, size) for name in self.algorithms)


def ring(links: Links, ranks: int, size: float) -> float:
    """Return the seconds of 2 (p - 1) messages of n / p bytes."""
    return 2 * (ranks - 1) * (links.alpha + size / ranks * links.beta)


def halving_doubling(links: Links, ranks: int, size: float) -> float:
    """Return the seconds of 2 log2(p) messages, 2 (p - 1) / p n bytes in all.

    Rabenseifner's algorithm, recursive halving, then doubling. With p no power of two, the ranks
    too many hand their vectors to others first and get the result at the end.
    """
    power = 1 << (ranks.bit_length() - 1)
    folded = 0.0 if power == ranks else 2 * (links.alpha + size * links.beta)
    messages, share = 2 * (power.bit_length() - 1), 2 * (power - 1) / power
    return messages * links.alpha + share * size * links.beta + folded


def mesh(links: Links, ranks: int, size: float) -> float:
    """Return the seconds of two halves, which both send n / p bytes to every rank at once."""
    return 2 * (links.alpha + size / ranks * links.beta)


ALGORITHMS: Mapping[str, Callable[[Links, int, float], float]] = {
    "ring": ring,
    "halving_doubling": halving_doubling,
    "mesh": mesh,
}


@dataclass(frozen=True)
class Machine:
    """A cluster of equal nodes.

    Attributes:
        node: Devices of a node.
        inside: The links within a node.
        between: The links between nodes, one per device.
        speed: Operations per second that a network really reaches on a device.
        overhead: Seconds of a step that do not depend on the number of images.
    """

    node: int
    inside: Links
    between: Links
    speed: float
    overhead: float

    def all_reduce(self, ranks: int, size: float) -> float:
        """Return the seconds of an all-reduce of ``size`` bytes.

        A reduce-scatter inside the nodes, an all-reduce of every rank's part with the ranks of the
        same place on the other nodes, each through a port of its own, and an all-gather inside the
        nodes. The first and the last together cost as much as an all-reduce inside a node.

        Raises:
            ValueError: The last node would not be full.
        """
        if ranks > self.node and ranks % self.node:
            raise ValueError(f"{ranks} ranks do not fill nodes of {self.node}")
        here = min(self.node, ranks)
        outside = self.between.all_reduce(ranks // here, size / here)
        return self.inside.all_reduce(here, size) + outside

    def scaled(self, latency: float = 1.0, speed: float = 1.0) -> Machine:
        """Return the same with other latencies of all links, and quicker devices."""
        inside, between = (
            replace(links, alpha=links.alpha * latency) for links in (self.inside, self.between)
        )
        return replace(self, inside=inside, between=between, speed=self.speed * speed)


@cache
def known_machines() -> dict[str, Machine]:
    """Return the machines of devices.yaml by name."""
    text = Path(__file__).with_name("devices.yaml").read_text(encoding="utf-8")
    return {name: _machine(tree) for name, tree in yaml.safe_load(text).items()}


def _machine(tree: Mapping[str, Any]) -> Machine:
    inside, between = (
        Links(links["latency"] * 1e-6, 1e-9 / links["bandwidth"], tuple(links["algorithms"]))
        for links in (tree["inside"], tree["between"])
    )
    compute = tree["compute"]
    speed = compute["rate"] * compute["multiplications"] * OPERATIONS
    return Machine(tree["node"], inside, between, speed, compute["overhead"] * 1e-6)

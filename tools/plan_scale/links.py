"""How long a reduction takes: the alpha-beta model of a link, and the usual algorithms on it.

A message of n bytes takes alpha + n * beta seconds between two ranks (Hockney, "The communication
challenge for MPP", Parallel Computing 20, 1994). The formulas of the algorithms are those of
Thakur, Rabenseifner and Gropp, "Optimization of Collective Communication Operations in MPICH",
IJHPCA 19, 2005, and, for the ring, of Patarasuk and Yuan, "Bandwidth optimal all-reduce algorithms
for clusters of workstations", JPDC 69, 2009. The time to add numbers is part of beta.

p = ranks, n = bytes of the message of each rank.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Algorithm = Literal["ring", "halving_doubling", "mesh"]


@dataclass(frozen=True)
class Link:
    """What connects two ranks.

    Attributes:
        alpha: Seconds that a message costs, whatever its size.
        beta: Seconds per byte, in one direction while the other one is busy as well.
    """

    alpha: float
    beta: float

    @classmethod
    def of(cls, microseconds: float, gigabytes_per_second: float) -> Link:
        """The same from the units of data sheets."""
        return cls(microseconds * 1e-6, 1e-9 / gigabytes_per_second)


@dataclass(frozen=True)
class Level:
    """Ranks that are connected alike: those of a node, or the nodes of a cluster.

    Attributes:
        link: Between any two of them.
        algorithms: Those that the library chooses from; it is taken to choose the quickest.
    """

    link: Link
    algorithms: Sequence[Algorithm]

    def all_reduce(self, ranks: int, size: float) -> float:
        """Seconds of an all-reduce of ``size`` bytes over so many ranks."""
        if ranks == 1:
            return 0.0
        return min(_ALGORITHMS[name](self.link, ranks, size) for name in self.algorithms)


def hierarchical(inside: Level, between: Level, node: int, ranks: int, size: float) -> float:
    """Seconds of an all-reduce over nodes of ``node`` ranks each.

    A reduce-scatter inside the nodes, an all-reduce of every rank's part with the ranks of the same
    place on the other nodes, each through a port of its own, and an all-gather inside the nodes.
    The first and the last together cost as much as an all-reduce inside a node.

    Raises:
        ValueError: The last node would not be full.
    """
    if ranks > node and ranks % node:
        raise ValueError(f"{ranks} ranks do not fill nodes of {node}")
    here = min(node, ranks)
    return inside.all_reduce(here, size) + between.all_reduce(ranks // here, size / here)


def ring(link: Link, ranks: int, size: float) -> float:
    """2 (p - 1) messages of n / p bytes."""
    return 2 * (ranks - 1) * (link.alpha + size / ranks * link.beta)


def halving_doubling(link: Link, ranks: int, size: float) -> float:
    """Rabenseifner's algorithm: recursive halving, then recursive doubling.

    2 log2(p) messages, 2 (p - 1) / p n bytes in all. With p no power of two, the ranks too many
    hand their vectors to others first and get the result at the end.
    """
    power = 1 << (ranks.bit_length() - 1)
    folded = 0.0 if power == ranks else 2 * (link.alpha + size * link.beta)
    messages, share = 2 * (power.bit_length() - 1), 2 * (power - 1) / power
    return messages * link.alpha + share * size * link.beta + folded


def mesh(link: Link, ranks: int, size: float) -> float:
    """Every rank has a link of its own to every other one and uses all of them at once.

    Each of the two halves sends n / p bytes over every link.
    """
    return 2 * (link.alpha + size / ranks * link.beta)


_ALGORITHMS: Mapping[Algorithm, Callable[[Link, int, float], float]] = {
    "ring": ring,
    "halving_doubling": halving_doubling,
    "mesh": mesh,
}

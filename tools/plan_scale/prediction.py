"""How long a step of a data-parallel MTLN job takes on the machines of devices.yaml.

step = compute + what of the reduction is not hidden behind the backward pass + the share of a step
in the next consolidation point.

compute = the host's waits + the longer of the host launching and the device computing, where every
kernel costs the device something however little it computes.

Most figures are known from one value to another: a machine comes with computing and links at best
and at worst, and what all four predict spans what can be said.

A message of n bytes takes alpha + n * beta seconds between two ranks (Hockney, "The communication
challenge for MPP", Parallel Computing 20, 1994). The formulas of the algorithms are those of
Thakur, Rabenseifner and Gropp, "Optimization of Collective Communication Operations in MPICH",
IJHPCA 19, 2005, and, for the ring, of Patarasuk and Yuan, "Bandwidth optimal all-reduce algorithms
for clusters of workstations", JPDC 69, 2009. The time to add numbers is part of beta.

p = ranks, n = bytes of the message of each rank.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any, Literal

import yaml

Branches = Literal["local", "allreduce"]

# A forward pass, and two products as large for the gradients of a layer's input and weights; a
# multiplication comes with an addition.
_OPERATIONS = 3 * 2
# Of the compute, what is left when the first gradients are known: the backward pass.
_BACKWARD = 2 / 3


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
        """Return the seconds of an all-reduce of ``size`` bytes over ``ranks`` ranks."""
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


ALGORITHMS = {"ring": ring, "halving_doubling": halving_doubling, "mesh": mesh}


@dataclass(frozen=True)
class Machine:
    """A cluster of equal nodes.

    Attributes:
        node: Devices of a node.
        inside: The links within a node.
        between: The links between nodes, one per device.
        speed: Operations per second that a network really reaches on a device.
        kernel: Seconds on the device that a kernel costs beside its operations.
        launch: Seconds of the host to launch a kernel, or a whole graph.
        wait: Seconds that are lost when the host waits for the device.
    """

    node: int
    inside: Links
    between: Links
    speed: float
    kernel: float
    launch: float
    wait: float

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


@cache
def known_machines() -> dict[str, list[Machine]]:
    """Return the machines of devices.yaml by name: computing and links at best and at worst.

    The four of a machine are best and best, best and worst, worst and best, worst and worst.
    """
    text = Path(__file__).with_name("devices.yaml").read_text(encoding="utf-8")
    ends = [(computing, links) for computing in (0, 1) for links in (0, 1)]
    return {
        name: [_machine(tree, *pair) for pair in ends]
        for name, tree in yaml.safe_load(text).items()
    }


def _machine(tree: Mapping[str, Any], computing: int, links: int) -> Machine:
    def figure(section: str, name: str, end: int) -> float:
        value = tree[section][name]
        return float(value[end] if isinstance(value, list) else value)

    inside, between = (
        Links(
            1e-6 * figure(section, "latency", links),
            1e-9 / figure(section, "bandwidth", links),
            tuple(tree[section]["algorithms"]),
        )
        for section in ("inside", "between")
    )
    rate, products = (figure("compute", name, computing) for name in ("rate", "multiplications"))
    costs = (1e-6 * figure("compute", name, computing) for name in ("kernel", "launch", "wait"))
    return Machine(tree["node"], inside, between, rate * products * _OPERATIONS, *costs)


@dataclass(frozen=True)
class Plan:
    """A job without the number of its ranks.

    Attributes:
        branches: As in the configuration.
        multiplications: Of a forward pass, per image of the mixed batch, on average.
        kernels: That the device runs in a step.
        launches: Of kernels or graphs, by the host in a step.
        waits: Times that the host waits for the device in a step.
        datasets: Number of data sets.
        messages: Bytes of every message that a rank reduces in a step.
        consolidation: Bytes of every message that it reduces at a consolidation point.
        consolidate_every: Steps between two consolidation points.
        images: Images per data set, step and rank.
        overlap: Part of the reduction that can go on while the rest is computed, in 0..1.
    """

    branches: Branches
    multiplications: float
    kernels: int
    launches: int
    waits: int
    datasets: int
    messages: Sequence[int]
    consolidation: Sequence[int]
    consolidate_every: int
    images: int = 16
    overlap: float = 0.0


@dataclass(frozen=True)
class Step:
    """A predicted step; times in seconds.

    Attributes:
        ranks: Number of ranks.
        images: Images of the step, over all ranks.
        compute: Of one rank, as if it were alone.
        reduction: The whole of it.
        visible: What of it is not hidden.
        consolidation: A consolidation point, divided by the steps between two.
        seconds: The whole step.
        images_per_second: Over all ranks.
        efficiency: Speed per rank against a rank alone, with as many images per rank.
        reduction_share: The part of the step that is spent in reductions, consolidation included.
    """

    ranks: int
    images: int
    compute: float
    reduction: float
    visible: float
    consolidation: float
    seconds: float
    images_per_second: float
    efficiency: float
    reduction_share: float


def predict(plan: Plan, machine: Machine, ranks: int) -> Step:
    """Predict a step.

    Raises:
        ValueError: The ranks do not fill the nodes.
    """
    images = plan.images * plan.datasets
    device = plan.kernels * machine.kernel
    device += _OPERATIONS * plan.multiplications * images / machine.speed
    compute = plan.waits * machine.wait + max(plan.launches * machine.launch, device)
    reduction, point = (
        sum(machine.all_reduce(ranks, size) for size in sizes)
        for sizes in (plan.messages, plan.consolidation)
    )
    visible = reduction - min(plan.overlap * reduction, _BACKWARD * compute)
    consolidation = point / plan.consolidate_every
    seconds = compute + visible + consolidation
    times = (compute, reduction, visible, consolidation, seconds)
    total, in_reductions = images * ranks, visible + consolidation
    speeds = (total / seconds, compute / seconds, in_reductions / seconds)
    return Step(ranks, total, *times, *speeds)


def spans(steps: Sequence[Step]) -> dict[str, tuple[float, float]]:
    """Return the least and the greatest value of every figure of some steps, by its name."""
    values = {field.name: [getattr(step, field.name) for step in steps] for field in fields(Step)}
    return {name: (min(found), max(found)) for name, found in values.items()}

"""How long a step of a data-parallel MTLN job takes.

step = compute + waiting for the slowest rank + what of the reduction is not hidden behind the
backward pass + the share of a step in the next consolidation point.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from tools.plan_scale.links import hierarchical
from tools.plan_scale.machines import OPERATIONS, Machine
from tools.plan_scale.network import Network
from tools.plan_scale.waiting import expected_maximum

Branches = Literal["local", "allreduce"]

FLOAT_BYTES = 4
# Of the compute, what is left when the first gradients are known: the backward pass.
_BACKWARD = 2 / 3


@dataclass(frozen=True)
class Plan:
    """A job without the number of its ranks.

    Attributes:
        network: The network.
        tasks: Number of tasks.
        datasets: Number of data sets.
        images: Images per data set, step and rank.
        branches: ``local``: only the shared branch is reduced in every step, and the task branches
            are averaged at consolidation points. ``allreduce``: everything in every step.
        consolidate_every: Steps between two consolidation points.
        slots: State vectors of the optimizer, averaged with the branches.
        wire_bytes: Bytes of a value in the gradient's messages.
        overlap: Part of the gradient that can be reduced while the rest is computed, in 0..1; the
            step of this project reduces once, at the end.
        jitter: Standard deviation of a rank's compute time, as a fraction of it.
    """

    network: Network
    tasks: int
    datasets: int
    images: int
    branches: Branches = "local"
    consolidate_every: int = 50
    slots: int = 1
    wire_bytes: int = FLOAT_BYTES
    overlap: float = 0.0
    jitter: float = 0.0

    @property
    def message(self) -> int:
        """Bytes of the message that every rank reduces in a step.

        The gradient, the losses and, with local branches, the norm of their gradient.
        """
        local = self.branches == "local"
        values = self.network.shared + (0 if local else self.network.branches)
        return self.wire_bytes * values + FLOAT_BYTES * (self.tasks + local)

    @property
    def images_per_rank(self) -> int:
        """Images of a rank in a step, over all data sets."""
        return self.images * self.datasets


@dataclass(frozen=True)
class Step:
    """The parts of a step, in seconds.

    Attributes:
        ranks: Number of ranks.
        images: Images of the step, over all ranks.
        compute: Of one rank, as if it were alone.
        waiting: For the slowest rank.
        reduction: The whole of it.
        visible: What of it is not hidden.
        consolidation: A consolidation point, divided by the steps between two.
    """

    ranks: int
    images: int
    compute: float
    waiting: float
    reduction: float
    visible: float
    consolidation: float

    @property
    def seconds(self) -> float:
        """The whole step."""
        return self.compute + self.waiting + self.visible + self.consolidation

    @property
    def efficiency(self) -> float:
        """Speed per rank against a rank alone, with as many images per rank."""
        return self.compute / self.seconds

    @property
    def images_per_second(self) -> float:
        """Over all ranks."""
        return self.images / self.seconds

    @property
    def reduction_share(self) -> float:
        """The part of the step that the ranks spend in reductions, consolidation included."""
        return (self.visible + self.consolidation) / self.seconds


def predict(plan: Plan, machine: Machine, ranks: int) -> Step:
    """Predicts a step.

    Raises:
        ValueError: The ranks do not fill the nodes.
    """
    compute = seconds_alone(plan, machine)
    reduction = _all_reduce(machine, ranks, plan.message)
    return Step(
        ranks=ranks,
        images=plan.images_per_rank * ranks,
        compute=compute,
        waiting=compute * plan.jitter * expected_maximum(ranks),
        reduction=reduction,
        visible=reduction - min(plan.overlap * reduction, _BACKWARD * compute),
        consolidation=consolidation(plan, machine, ranks) / plan.consolidate_every,
    )


def seconds_alone(plan: Plan, machine: Machine) -> float:
    """Compute of a rank in a step."""
    operations = OPERATIONS * plan.network.multiplications * plan.images_per_rank
    return machine.overhead + operations / machine.speed


def consolidation(plan: Plan, machine: Machine, ranks: int) -> float:
    """Seconds of a consolidation point: the reductions of train/step/consolidation.py.

    The means, then the variances of the batch norms; with local branches, also the branches with
    their optimizer state.
    """
    if ranks == 1:
        return 0.0
    statistics = FLOAT_BYTES * plan.network.statistics
    sizes = [statistics, statistics] if statistics else []
    if plan.branches == "local":
        sizes.append(FLOAT_BYTES * plan.network.branches * (1 + plan.slots))
    return sum(_all_reduce(machine, ranks, size) for size in sizes)


def images_for(
    plan: Plan, machine: Machine, ranks: int, efficiency: float, most: int
) -> int | None:
    """The least images per data set and rank that reach an efficiency; None if ``most`` do not.

    The efficiency grows with the images, as only the compute does.
    """

    def reaches(images: int) -> bool:
        return predict(replace(plan, images=images), machine, ranks).efficiency >= efficiency

    if not reaches(most):
        return None
    low, high = 0, most
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if reaches(middle) else (middle, high)
    return high


def _all_reduce(machine: Machine, ranks: int, size: float) -> float:
    return hierarchical(machine.inside, machine.between, machine.node, ranks, size)

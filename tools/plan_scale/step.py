"""How long a step of a data-parallel MTLN job takes.

step = compute + waiting for the slowest rank + what of the reduction is not hidden behind the
backward pass + the share of a step in the next consolidation point.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from statistics import NormalDist
from typing import Literal

import numpy as np

from tools.plan_scale.machine import OPERATIONS, Machine

Branches = Literal["local", "allreduce"]

# Of the compute, what is left when the first gradients are known: the backward pass.
_BACKWARD = 2 / 3
# Of the integration: standard deviations to either side, and points.
_REACH, _POINTS = 9.0, 3601


@dataclass(frozen=True)
class Plan:
    """A job without the number of its ranks.

    Attributes:
        branches: As in the configuration.
        multiplications: Of a forward pass, per image of the mixed batch, on average.
        datasets: Number of data sets.
        messages: Bytes of every message that a rank reduces in a step.
        consolidation: Bytes of every message that it reduces at a consolidation point.
        consolidate_every: Steps between two consolidation points.
        images: Images per data set, step and rank.
        overlap: Part of the reduction that can go on while the rest is computed, in 0..1.
        jitter: Standard deviation of a rank's compute time, as a fraction of it.
    """

    branches: Branches
    multiplications: float
    datasets: int
    messages: Sequence[int]
    consolidation: Sequence[int]
    consolidate_every: int
    images: int = 16
    overlap: float = 0.0
    jitter: float = 0.0


@dataclass(frozen=True)
class Step:
    """A predicted step; times in seconds.

    Attributes:
        ranks: Number of ranks.
        images: Images of the step, over all ranks.
        compute: Of one rank, as if it were alone.
        waiting: For the slowest rank.
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
    waiting: float
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
    compute = machine.overhead + OPERATIONS * plan.multiplications * images / machine.speed
    waiting = compute * plan.jitter * expected_maximum(ranks)
    reduction, point = (
        sum(machine.all_reduce(ranks, size) for size in sizes)
        for sizes in (plan.messages, plan.consolidation)
    )
    visible = reduction - min(plan.overlap * reduction, _BACKWARD * compute)
    consolidation = point / plan.consolidate_every
    seconds = compute + waiting + visible + consolidation
    return Step(
        ranks,
        images * ranks,
        compute,
        waiting,
        reduction,
        visible,
        consolidation,
        seconds,
        images_per_second=images * ranks / seconds,
        efficiency=compute / seconds,
        reduction_share=(visible + consolidation) / seconds,
    )


def images_for(
    plan: Plan, machine: Machine, ranks: int, efficiency: float, most: int
) -> int | None:
    """Return the least images per data set and rank that reach an efficiency; None if none do.

    The efficiency grows with the images, as only the compute does.
    """

    def reached(images: int) -> float:
        return predict(replace(plan, images=images), machine, ranks).efficiency

    images = bisect_left(range(most + 1), efficiency, lo=1, key=reached)
    return images if images <= most else None


@cache
def expected_maximum(count: int) -> float:
    """Return the expected largest of ``count`` independent standard normal numbers.

    The upper bound of the integration less the integral of F(x)^count up to it, F being their
    distribution (by parts, from David and Nagaraja, "Order Statistics", 2003, section 3.1).
    """
    x = np.linspace(-_REACH, _REACH, _POINTS)
    distribution = np.array([NormalDist().cdf(value) for value in x])
    return _REACH - float(np.trapz(distribution**count, x))

"""How long the ranks of a step wait for the slowest of them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
import numpy.typing as npt

_DRAWS = 20_000
# Of the integration: standard deviations to either side, and points.
_REACH, _POINTS = 9.0, 3601


@cache
def expected_maximum(count: int) -> float:
    """Expected largest of ``count`` independent standard normal numbers.

    The upper bound of the integration less the integral of F(x)^count up to it, F being their
    distribution (by parts, from David and Nagaraja, "Order Statistics", 2003, section 3.1).
    """
    x = np.linspace(-_REACH, _REACH, _POINTS)
    return _REACH - float(np.trapz(_normal_distribution(x) ** count, x))


def _normal_distribution(x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """F(x) by the trapezoidal rule, within 1e-7."""
    density = np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi)
    steps = (density[1:] + density[:-1]) / 2 * np.diff(x)
    values: npt.NDArray[np.float64] = np.concatenate([[0.0], np.cumsum(steps)])
    return values.clip(0, 1)


def slowest_core(jobs: Sequence[Sequence[float]], ranks: int, rng: np.random.Generator) -> float:
    """Median time until all ranks have computed, from the times of jobs that wait for nobody.

    Args:
        jobs: Times of single steps of independent jobs, one per core, all at the same time.
        ranks: Ranks over all cores. Where a core has several, it computes one after the other.
        rng: Draws the steps that come together.
    """
    per_core = [ranks // len(jobs) + (core < ranks % len(jobs)) for core in range(len(jobs))]
    busy = [
        rng.choice(times, (_DRAWS, number)).sum(axis=1)
        for times, number in zip(jobs, per_core, strict=True)
    ]
    return float(np.median(np.max(busy, axis=0)))

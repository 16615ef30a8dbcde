"""Measured jobs beside what the model says of them."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tools.plan_scale.fit import Constants, fit
from tools.plan_scale.links import ring
from tools.plan_scale.measure import ALONE, PREDICTED
from tools.plan_scale.waiting import slowest_core

_SEED = 1


@dataclass(frozen=True)
class Row:
    """One job.

    Attributes:
        kind: How it was started.
        ranks: Its ranks.
        branches: As in the configuration.
        measured: Median seconds of a step.
        compute: Predicted: of a core's ranks together, without waiting for another core.
        waiting: Predicted: for the slowest core.
        reduction: Predicted.
    """

    kind: str
    ranks: int
    branches: str
    measured: float
    compute: float
    waiting: float
    reduction: float

    @property
    def predicted(self) -> float:
        """Seconds of a step."""
        return self.compute + self.waiting + self.reduction

    @property
    def error(self) -> float:
        """Of the prediction, as a fraction of what was measured."""
        return self.predicted / self.measured - 1


def check(measurement: Mapping[str, Any]) -> list[Row]:
    """Predicts the jobs that no constant was fitted on."""
    constants = fit(measurement)
    cores = len(constants.relative)
    jobs = [job for job in measurement["jobs"] if job["images_per_task"] == PREDICTED]
    return [_row(job, constants, cores) for job in jobs]


def _row(job: Mapping[str, Any], constants: Constants, cores: int) -> Row:
    ranks = job["ranks"]
    alone = constants.alone(job["images_per_task"] * job["tasks"])
    measured = statistics.median(job["step_seconds"][0])
    if job["kind"] == ALONE:
        return Row(job["kind"], ranks, job["branches"], measured, alone, 0.0, 0.0)
    # A core with two ranks computes one after the other, and so does not gain by the one waiting.
    compute = alone * constants.contention * -(-ranks // cores)
    slowest = alone * slowest_core(constants.relative, ranks, np.random.default_rng(_SEED))
    link = constants.links[job["kind"], ranks]
    return Row(
        job["kind"],
        ranks,
        job["branches"],
        measured,
        compute,
        max(0.0, slowest - compute),
        ring(link, ranks, job["bytes_reduced_per_step"]),
    )

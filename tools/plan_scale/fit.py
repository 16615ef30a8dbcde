"""The constants of a machine, fitted on some of the runs of a measurement."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tools.plan_scale.links import Link
from tools.plan_scale.measure import ALONE, FORMAT, PREDICTED, SIDE_BY_SIDE
from train.errors import UserError


@dataclass(frozen=True)
class Constants:
    """What is known of this kind of machine.

    Attributes:
        per_step: Seconds of a step that do not depend on the images.
        per_image: Seconds per image of the mixed batch and rank.
        relative: Step times of jobs side by side, one per core, over that of one alone: the
            contention of memory bandwidth, and the noise.
        links: Of an engine ("mpi", "launcher") and a number of ranks. With more ranks than cores
            they take turns in the reduction too, so that its constants are others.
    """

    per_step: float
    per_image: float
    relative: Sequence[Sequence[float]]
    links: Mapping[tuple[str, int], Link]

    @property
    def contention(self) -> float:
        """How much longer a step takes while the other cores compute as well."""
        return statistics.median(time for job in self.relative for time in job)

    def alone(self, images: int) -> float:
        """Seconds of a step of one rank that has the machine for itself."""
        return self.per_step + self.per_image * images


def read(file: Path) -> dict[str, Any]:
    """Reads what ``measure`` has written.

    Raises:
        UserError: It cannot be read, or is something else.
    """
    try:
        tree = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{file}: cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise UserError(f"{file}: not valid JSON: {error}") from None
    if not isinstance(tree, dict) or tree.get("format") != FORMAT:
        raise UserError(f"{file}: is no measurement (make one: plan-scale measure --out FILE)")
    return tree


def fit(measurement: Mapping[str, Any]) -> Constants:
    """Fits the constants, on other runs than those that are to be predicted from them.

    Compute: the line through the step times of one rank with few and with many images. Contention:
    jobs that have nothing to do with each other. Links: bare reductions.
    """
    fitted = [job for job in measurement["jobs"] if job["images_per_task"] != PREDICTED]
    alone = {
        job["images_per_task"] * job["tasks"]: statistics.median(job["step_seconds"][0])
        for job in fitted
        if job["kind"] == ALONE
    }
    (few, quick), (many, slow) = sorted(alone.items())
    per_image = (slow - quick) / (many - few)
    beside = next(job for job in fitted if job["kind"] == SIDE_BY_SIDE)
    expected = alone[beside["images_per_task"] * beside["tasks"]]
    return Constants(
        per_step=max(0.0, quick - few * per_image),
        per_image=per_image,
        relative=[[time / expected for time in job] for job in beside["step_seconds"]],
        links={
            (bare["engine"], bare["ranks"]): fit_link(bare["ranks"], bare["seconds"])
            for bare in measurement["reductions"]
        },
    )


def fit_link(ranks: int, seconds: Mapping[str, Sequence[float]]) -> Link:
    """Alpha and beta of a ring from bare reductions: least squares of the relative errors.

    Args:
        ranks: p.
        seconds: Bytes of the message (as text) -> times.
    """
    sizes = np.array([float(size) for size in seconds])
    times = np.array([statistics.median(found) for found in seconds.values()])
    alphas, betas = np.full(len(sizes), 2.0 * (ranks - 1)), 2 * (ranks - 1) / ranks * sizes
    rows = np.stack([alphas, betas], axis=1) / times[:, None]
    (alpha, beta), *_ = np.linalg.lstsq(rows, np.ones(len(sizes)), rcond=None)
    return Link(max(0.0, float(alpha)), max(0.0, float(beta)))

"""What belongs to which step: intervals between consolidation points, image size, learning rate."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from train.config.schema import Config
from train.config.sections import SizeStage


@dataclass(frozen=True)
class Interval:
    """The steps [first, last) between two consolidation points.

    Attributes:
        first: First step.
        last: The step after the last one: the consolidation point.
        size: Height and width of the training images, in pixels.
    """

    first: int
    last: int
    size: int


def intervals(
    start: int, steps: int, unit: int, size: int, stages: Sequence[SizeStage]
) -> Iterator[Interval]:
    """Yield the intervals from step ``start`` (a consolidation point) to the end of the run.

    Args:
        start: A multiple of ``unit``, or ``steps``.
        steps: Length of the run.
        unit: Steps between two consolidation points; the last interval may be shorter.
        size: Image size after all stages.
        stages: Smaller sizes first; a stage ends with the interval its fraction falls into.
    """
    for first in range(start, steps, unit):
        sizes = [stage.size for stage in stages if first < stage.until * steps]
        yield Interval(first, min(first + unit, steps), sizes[0] if sizes else size)


def learning_rate(step: int, steps: int, peak: float, warmup: float) -> float:
    """Return the rate of a step: linear warm-up to ``peak``, then half a cosine to (nearly) zero.

    Args:
        step: From 0.
        steps: Length of the run.
        peak: Largest rate.
        warmup: Fraction of the run that is warm-up.
    """
    warmup_steps = round(warmup * steps)
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    progress = (step - warmup_steps) / max(1, steps - warmup_steps)
    return peak * 0.5 * (1 + math.cos(math.pi * progress))


class Schedule:
    """The intervals and learning rates of a run.

    Args:
        config: The run.

    Attributes:
        steps: Length of the run.
    """

    def __init__(self, config: Config) -> None:
        self.steps = config.schedule.steps
        self._config = config

    def intervals(self, start: int) -> Iterator[Interval]:
        """Yield the intervals from a consolidation point to the end of the run."""
        schedule, image = self._config.schedule, self._config.image
        unit = schedule.consolidate_every
        return intervals(start, schedule.steps, unit, image.size, image.stages)

    def learning_rate(self, step: int) -> float:
        """Return the learning rate of a step, counted from 0."""
        options, schedule = self._config.optimizer, self._config.schedule
        return learning_rate(step, schedule.steps, options.learning_rate, schedule.warmup)

    def pixels_left(self, done: int) -> int:
        """Return the pixels of one training image per step, over all steps after ``done``."""
        rest = self.intervals(done - done % self._config.schedule.consolidate_every)
        return sum((i.last - max(i.first, done)) * i.size**2 for i in rest)

"""What belongs to which step: intervals between consolidation points, image size, learning rate."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from train.config.schema import Config


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
        """Yield the intervals from a consolidation point to the end of the run.

        The last one may be shorter. A stage with smaller images ends with the interval that its
        fraction of the steps falls into.
        """
        image, unit = self._config.image, self._config.schedule.consolidate_every
        for first in range(start, self.steps, unit):
            sizes = [stage.size for stage in image.stages if first < stage.until * self.steps]
            yield Interval(first, min(first + unit, self.steps), sizes[0] if sizes else image.size)

    def learning_rate(self, step: int) -> float:
        """Return the rate of a step, counted from 0.

        It rises linearly to its peak in the warm-up, then falls as half a cosine to (nearly) zero.
        """
        peak = self._config.optimizer.learning_rate
        warmup_steps = round(self._config.schedule.warmup * self.steps)
        if step < warmup_steps:
            return peak * (step + 1) / warmup_steps
        progress = (step - warmup_steps) / max(1, self.steps - warmup_steps)
        return peak * 0.5 * (1 + math.cos(math.pi * progress))

    def pixels_left(self, done: int) -> int:
        """Return the pixels of one training image per step, over all steps after ``done``."""
        rest = self.intervals(done - done % self._config.schedule.consolidate_every)
        return sum((i.last - max(i.first, done)) * i.size**2 for i in rest)

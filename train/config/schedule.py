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

        The last one may be shorter, and so may the first one of a run that goes on from the end of
        a shorter one. A stage with smaller images ends with the interval that its fraction of the
        steps falls into.
        """
        unit = self._config.schedule.consolidate_every
        while start < self.steps:
            last = min(start - start % unit + unit, self.steps)
            yield Interval(start, last, self.image_size(start))
            start = last

    def image_size(self, step: int) -> int:
        """Return height and width of the training images of a step, in pixels."""
        return next(size for end, size in self._spans() if step < end)

    def _spans(self) -> Iterator[tuple[int, int]]:
        """Yield the step that every stage ends before, and its size; then those of the rest."""
        unit = self._config.schedule.consolidate_every
        for stage in self._config.image.stages:
            # The first consolidation point at or behind the fraction; no sum over all of them.
            end = math.ceil(stage.until * self.steps / unit) * unit
            end += unit * (
                (end < stage.until * self.steps) - (end - unit >= stage.until * self.steps)
            )
            yield end, stage.size
        yield max(self.steps, 1), self._config.image.size

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
        pixels = 0
        for end, size in self._spans():
            end = min(end, self.steps)
            pixels += max(0, end - done) * size**2
            done = max(done, end)
        return pixels


def longer_run(config: Config, steps_before: int, step: int) -> str:
    """Return what it means that a run goes on which was to be shorter.

    Args:
        config: The run as it is now.
        steps_before: Its length when the checkpoint was saved.
        step: The step of the checkpoint.
    """
    before = config.schedule.model_copy(update={"steps": steps_before})
    old, new = Schedule(config.model_copy(update={"schedule": before})), Schedule(config)
    last = max(step - 1, 0)
    text = (
        f"A longer run: schedule.steps was {steps_before:,} and is now {new.steps:,}. From step "
        f"{step:,} on the learning rate is {new.learning_rate(step):.3g}, after "
        f"{old.learning_rate(last):.3g} (peak {config.optimizer.learning_rate:g})"
    )
    sizes = old.image_size(last), new.image_size(step)
    return (
        f"{text}; images have {sizes[1]} pixels, after {sizes[0]}" if len(set(sizes)) > 1 else text
    )

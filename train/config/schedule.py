"""What belongs to which step: stretches between consolidation points, image size, learning rate."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from train.config.schema import SizeStage


@dataclass(frozen=True)
class Stretch:
    """The steps [first, last) between two consolidation points.

    Attributes:
        first: First step.
        last: The step after the last one: the consolidation point.
        size: Height and width of the training images, in pixels.
    """

    first: int
    last: int
    size: int


def stretches(
    start: int, steps: int, unit: int, size: int, stages: Sequence[SizeStage]
) -> Iterator[Stretch]:
    """The stretches from step ``start`` (a consolidation point) to the end of the run.

    Args:
        start: A multiple of ``unit``, or ``steps``.
        steps: Length of the run.
        unit: Steps between two consolidation points; the last stretch may be shorter.
        size: Image size after all stages.
        stages: Smaller sizes first; a stage ends with the stretch its fraction falls into.
    """
    for first in range(start, steps, unit):
        sizes = [stage.size for stage in stages if first < stage.until * steps]
        yield Stretch(first, min(first + unit, steps), sizes[0] if sizes else size)


def learning_rate(step: int, steps: int, peak: float, warmup: float) -> float:
    """Linear warm-up to ``peak``, then half a cosine down to (nearly) zero.

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

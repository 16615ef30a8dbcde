"""What is read from the vectors of some steps."""

import math

import numpy as np
import pytest

from train.step.train_step import StepResults


def vector(loss: float, updated: bool = True) -> np.ndarray:
    """Of two tasks: losses, weights, norm, flag."""
    return np.array([loss, 2 * loss, 0.5, 1.5, 3 * loss, float(updated)], np.float32)


def test_means_over_the_steps() -> None:
    results = StepResults.of([vector(1), vector(3)])
    assert results == StepResults(
        [2.0, 4.0], [0.5, 1.5], 6.0, updates=2, skipped=0, skipped_since_update=0
    )


def test_skipped_steps_do_not_count() -> None:
    """Their losses and norms may be no numbers."""
    results = StepResults.of([vector(math.nan, False), vector(5), vector(math.inf, False)])
    assert results == StepResults(
        [5.0, 10.0], [0.5, 1.5], 15.0, 1, skipped=2, skipped_since_update=1
    )


@pytest.mark.filterwarnings("error")
def test_nothing_but_skipped_steps() -> None:
    results = StepResults.of([vector(1, False)] * 3)
    assert (results.updates, results.skipped, results.skipped_since_update) == (0, 3, 3)
    assert all(map(math.isnan, [*results.losses, *results.weights, results.gradient_norm]))


def test_one_task() -> None:
    results = StepResults.of([np.array([7, 1, 2, 1], np.float32)])
    assert results == StepResults([7.0], [1.0], 2.0, updates=1, skipped=0, skipped_since_update=0)

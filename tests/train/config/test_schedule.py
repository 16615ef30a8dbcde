import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from train.config.schedule import intervals, learning_rate
from train.config.sections import SizeStage


@given(st.integers(1, 500), st.integers(1, 60), st.integers(0, 10))
def test_intervals_cover_the_rest_of_the_run(steps: int, unit: int, done: int) -> None:
    start = min(done * unit, steps)
    parts = list(intervals(start, steps, unit, 48, []))
    covered = [s for part in parts for s in range(part.first, part.last)]
    assert covered == list(range(start, steps))
    assert all(part.last % unit == 0 for part in parts[:-1])


def test_sizes_grow_at_consolidation_points() -> None:
    stages = [SizeStage(until=0.25, size=16), SizeStage(until=0.65, size=32)]
    parts = list(intervals(0, 100, 10, 48, stages))
    assert [p.size for p in parts] == [16] * 3 + [32] * 4 + [48] * 3


def test_a_resumed_run_sees_the_same_intervals() -> None:
    stages = [SizeStage(until=0.5, size=32)]
    assert list(intervals(30, 95, 10, 48, stages)) == list(intervals(0, 95, 10, 48, stages))[3:]


def test_learning_rate() -> None:
    rates = [learning_rate(s, 100, 0.4, 0.1) for s in range(100)]
    assert rates[0] == pytest.approx(0.04)
    assert rates[9] == rates[10] == pytest.approx(0.4)
    assert rates[55] == pytest.approx(0.2)
    assert rates[99] == pytest.approx(0.2 * (1 + math.cos(math.pi * 89 / 90)))
    assert max(rates) == pytest.approx(0.4)
    assert learning_rate(0, 100, 0.4, 0.0) == 0.4

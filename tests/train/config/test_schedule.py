import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from train.config.schedule import Interval, Schedule, intervals, learning_rate
from train.config.schema import Config
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


def test_the_schedule_of_a_run() -> None:
    config = Config.model_validate(
        {
            "run_dir": "runs/job",
            "datasets": {"ucm": {"records": "data/ucm"}},
            "tasks": {"ucm": {}},
            "image": {"size": 10, "stages": [{"until": 0.5, "size": 8}]},
            "schedule": {"steps": 25, "consolidate_every": 10, "warmup": 0.2},
            "optimizer": {"learning_rate": 0.5},
        }
    )
    schedule = Schedule(config)
    assert list(schedule.intervals(10)) == [Interval(10, 20, 8), Interval(20, 25, 10)]
    assert [schedule.learning_rate(step) for step in (0, 4)] == [0.1, 0.5]
    left = {done: schedule.pixels_left(done) for done in (0, 10, 17, 24, 25)}
    assert left == {0: 1780, 10: 1140, 17: 692, 24: 100, 25: 0}

import math
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from train.config.schedule import Interval, Schedule, longer_run
from train.config.schema import Config


def make_schedule(
    steps: int,
    every: int,
    size: int = 48,
    stages: Sequence[dict[str, float]] = (),
    peak: float = 0.4,
    warmup: float = 0.1,
) -> Schedule:
    """The schedule of a run with these settings."""
    return Schedule(
        Config.model_validate(
            {
                "run_dir": "runs/job",
                "datasets": {"ucm": {"records": "data/ucm"}},
                "tasks": {"ucm": {}},
                "image": {"size": size, "stages": list(stages)},
                "schedule": {"steps": steps, "consolidate_every": every, "warmup": warmup},
                "optimizer": {"learning_rate": peak},
            }
        )
    )


@given(st.integers(1, 500), st.integers(1, 60), st.integers(0, 10))
def test_intervals_cover_the_rest_of_the_run(steps: int, unit: int, done: int) -> None:
    start = min(done * unit, steps)
    parts = list(make_schedule(steps, unit).intervals(start))
    covered = [s for part in parts for s in range(part.first, part.last)]
    assert covered == list(range(start, steps))
    assert all(part.last % unit == 0 for part in parts[:-1])


def test_sizes_grow_at_consolidation_points() -> None:
    stages = [{"until": 0.25, "size": 16}, {"until": 0.65, "size": 32}]
    parts = list(make_schedule(100, 10, stages=stages).intervals(0))
    assert [p.size for p in parts] == [16] * 3 + [32] * 4 + [48] * 3


def test_a_resumed_run_sees_the_same_intervals() -> None:
    schedule = make_schedule(95, 10, stages=[{"until": 0.5, "size": 32}])
    assert list(schedule.intervals(30)) == list(schedule.intervals(0))[3:]


def test_learning_rate() -> None:
    schedule = make_schedule(100, 10)
    rates = [schedule.learning_rate(s) for s in range(100)]
    assert rates[0] == pytest.approx(0.04)
    assert rates[9] == rates[10] == pytest.approx(0.4)
    assert rates[55] == pytest.approx(0.2)
    assert rates[99] == pytest.approx(0.2 * (1 + math.cos(math.pi * 89 / 90)))
    assert max(rates) == pytest.approx(0.4)
    assert make_schedule(100, 10, warmup=0.0).learning_rate(0) == 0.4


def test_the_schedule_of_a_run() -> None:
    schedule = make_schedule(25, 10, 10, [{"until": 0.5, "size": 8}], peak=0.5, warmup=0.2)
    assert list(schedule.intervals(10)) == [Interval(10, 20, 8), Interval(20, 25, 10)]
    assert [schedule.learning_rate(step) for step in (0, 4)] == [0.1, 0.5]
    left = {done: schedule.pixels_left(done) for done in (0, 10, 17, 24, 25)}
    assert left == {0: 1780, 10: 1140, 17: 692, 24: 100, 25: 0}


def one_by_one(schedule: Schedule, done: int) -> int:
    """The pixels that are left, interval by interval."""
    parts = schedule.intervals(done)
    return sum((part.last - part.first) * part.size**2 for part in parts)


@given(
    st.integers(1, 300),
    st.integers(1, 40),
    st.lists(st.floats(0, 1), unique=True, max_size=3).map(sorted),
    st.floats(0, 1),
)
def test_what_is_left_is_the_sum_of_the_intervals(
    steps: int, every: int, ends: list[float], part: float
) -> None:
    stages = [{"until": end, "size": 8 + n} for n, end in enumerate(ends)]
    schedule = make_schedule(steps, every, stages=stages)
    done = int(part * steps)
    assert schedule.pixels_left(done) == one_by_one(schedule, done)
    # A stage ends at the first consolidation point at or behind its fraction.
    for interval in schedule.intervals(0):
        sizes = [8 + n for n, end in enumerate(ends) if interval.first < end * steps]
        assert interval.size == next(iter(sizes), 48)


def test_a_log_line_of_the_longest_run_costs_nothing() -> None:
    """Interval by interval it would take hours."""
    schedule = make_schedule(10**10, 1, stages=[{"until": 0.5, "size": 32}])
    assert schedule.pixels_left(0) == 10**10 // 2 * (32**2 + 48**2)


def test_a_run_goes_on_from_the_end_of_a_shorter_one() -> None:
    """Which may be between consolidation points: the next one is where it always is."""
    parts = list(make_schedule(60, 20).intervals(25))
    assert [(part.first, part.last) for part in parts] == [(25, 40), (40, 60)]


def test_what_is_said_of_a_longer_run() -> None:
    config = make_schedule(200, 10, stages=[{"until": 0.6, "size": 32}])._config
    assert longer_run(config, 100, 100) == (
        "A longer run: schedule.steps was 100 and is now 200. From step 100 on the learning rate "
        "is 0.235, after 0.000122 (peak 0.4); images have 32 pixels, after 48"
    )
    told = longer_run(make_schedule(2000, 10)._config, 1000, 1000)
    assert told.startswith(
        "A longer run: schedule.steps was 1,000 and is now 2,000. From step 1,000"
    )
    assert told.endswith("(peak 0.4)")

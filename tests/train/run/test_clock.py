"""What the clock of a run counts, and what it keeps over a stop."""

from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from train.run import clock as module
from train.run.clock import RunClock, Throughput


class Time:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def passes(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    time = Time()
    monkeypatch.setattr(module, "time", SimpleNamespace(perf_counter=lambda: time.now))
    return time


def slow_batches(time: Time) -> Iterator[int]:
    for batch in range(2):
        time.passes(0.5)
        yield batch


def test_a_lap_is_what_came_since_the_last_one(time: Time) -> None:
    clock = RunClock()
    time.passes(7)
    clock.restart()  # a compilation does not count
    for _ in clock.waited(slow_batches(time)):
        clock.count(images=4, size=10)
        time.passes(1.5)
    lap = clock.lap()
    assert lap == Throughput(seconds=4, waiting=1, images=8)
    assert (lap.images_per_second, lap.waiting_share) == (2, 0.25)
    time.passes(1)  # a consolidation makes no image, and counts
    assert clock.lap() == Throughput(seconds=1)
    assert clock.total == Throughput(seconds=5, waiting=1, images=8)
    assert clock.wall_seconds == 12
    assert clock.seconds_for(pixels=1600) == 8


def test_what_checkpoints_cost_counts_beside_the_steps(time: Time) -> None:
    """It stands in the lap that follows, and at the end in the total."""
    clock = RunClock()
    time.passes(3)
    clock.lap()
    for _ in range(2):
        with clock.saving():
            time.passes(0.5)
    clock.restart()
    time.passes(4)
    assert clock.lap() == Throughput(seconds=4, saving=1) and clock.lap().saving == 0
    assert clock.total == Throughput(seconds=7, saving=1)
    assert clock.total.saving_share == 0.125


def test_it_goes_on_where_the_run_was_stopped(time: Time) -> None:
    before = RunClock()
    time.passes(2)
    before.restart()  # a compilation
    before.count(images=6, size=8)
    time.passes(3)
    before.lap()
    state = before.to_state()
    assert state == {
        "throughput": {"seconds": 3, "waiting": 0, "images": 6, "saving": 0},
        "wall_seconds": 5,
    }
    time.passes(1000)
    after = RunClock()
    assert after.seconds_for(pixels=64) == 0
    after.load({**state, "run": {}})
    after.count(images=1, size=8)
    time.passes(1)
    after.lap()
    assert after.total == Throughput(seconds=4, images=7)
    assert after.wall_seconds == 6

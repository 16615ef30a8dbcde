"""Mapping over worker processes."""

import os
from collections.abc import Iterator
from contextlib import closing

import pytest

from tools.common.parallel import ordered_map
from train.errors import UserError


def test_results_come_in_order_and_jobs_are_taken_a_few_at_a_time() -> None:
    taken = 0

    def jobs() -> Iterator[float]:
        nonlocal taken
        for taken in range(1, 101):
            yield float(taken)

    ahead = []
    results = []
    for result in ordered_map(float.hex, jobs(), workers=2):
        results.append(float.fromhex(result))
        ahead.append(taken - len(results))
    assert results == [float(number) for number in range(1, 101)]
    assert max(ahead) <= 6


def test_errors_of_the_function_arrive() -> None:
    with pytest.raises(ValueError, match="could not convert"):
        list(ordered_map(float, ["1", "x", "2"], workers=2))


def test_death_of_a_worker_is_told() -> None:
    with (
        pytest.raises(UserError, match="worker process died"),
        closing(ordered_map(os._exit, [3], workers=2)) as results,
    ):
        list(results)

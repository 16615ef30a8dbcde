"""The parts of a job that grow with it, at 8,192 ranks, 1,000 tasks and 10^9 records.

Memory and counts are asserted, never times: `python -m tools plan-scale exercise` shows those.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.plan_scale.exercise import exercise, names
from train.data.sampler import split_shares

# Peak resident memory of an exercise's process, Python and numpy included. One number per record
# would be 8,000 MB.
_MEGABYTES = 150

EXPECTED: dict[str, dict[str, int]] = {
    "rank tables: generate, merge, validate": {"servers": 1024, "ranks": 8192, "violations": 0},
    "rank tables: convert ModelArts' form": {"servers": 1024, "ranks": 8192},
    "launch --dry-run with a rank table": {"code": 0, "ranks": 8192, "hosts": 1024},
    "launch --dry-run without one": {"code": 0, "ranks": 8192, "hosts": 1024},
    # With the usual limit of 1,024 open files, of which node 0 needs one for every other node.
    "launchers of all nodes meet": {"nodes": 1024, "open": 1023},
    "configuration of 1,000 tasks": {"tasks": 1000},
    "shares of the mixed batch": {"images": 8_192_000},
    "plan of 50 steps of a rank": {"records": 800, "different": 800},
    # Of 10^9 records dealt to 8,192 ranks, this one has the share rounded down.
    "evaluation: records of a rank": {"records": 122_070},
    "manifest of 10,000 shards": {"records": 10**9, "shards": 10_000, "last": 10**9},
}


def test_every_exercise_is_looked_at() -> None:
    assert names() == list(EXPECTED)


@pytest.mark.parametrize("name", EXPECTED)
def test_exercise(name: str) -> None:
    result = exercise(name)
    found: dict[str, Any] = result["found"]
    assert {key: found[key] for key in EXPECTED[name]} == EXPECTED[name]
    assert result["megabytes"] < _MEGABYTES


def one_by_one(images: int, weights: dict[str, float]) -> dict[str, int]:
    """Webster's method as it is defined: each image goes to whoever lags most, the first of many.

    It takes as many rounds as there are images.
    """
    dealt = dict.fromkeys(weights, 1)
    for _ in range(images - len(weights)):
        name = max(weights, key=lambda k: weights[k] / (2 * dealt[k] + 1))
        dealt[name] += 1
    return dealt


@given(
    st.lists(st.integers(1, 10**7), min_size=1, max_size=9),
    st.integers(0, 300),
    st.sampled_from(["equal", "proportional", 2.0, 3.0]),
)
def test_shares_are_those_of_one_image_after_the_other(
    sizes: list[int], more: int, rule: str | float
) -> None:
    records = {f"set{i}": size for i, size in enumerate(sizes)}
    exponent = {"equal": 0.0, "proportional": 1.0}[rule] if isinstance(rule, str) else 1 / rule
    images = len(sizes) + more
    expected = one_by_one(images, {name: float(n) ** exponent for name, n in records.items()})
    shares = rule if isinstance(rule, str) else {"temperature": rule}
    assert split_shares(shares, records, images) == expected

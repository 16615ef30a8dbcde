"""Splitting a class."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.sources import split_class, split_counts


@given(
    total=st.integers(1, 500),
    weights=st.tuples(st.integers(1, 20), st.integers(0, 20), st.integers(0, 20)),
)
def test_counts_add_up_and_are_near_their_share(total: int, weights: tuple[int, int, int]) -> None:
    whole = sum(weights)
    ratios = (weights[0] / whole, weights[1] / whole, weights[2] / whole)
    counts = split_counts(total, ratios)
    wanted = sum(ratio > 0 for ratio in ratios)
    assert sum(counts) == total and counts[0] >= 1 and min(counts) >= 0
    for count, ratio in zip(counts, ratios, strict=True):
        assert (count == 0) if ratio == 0 else (count >= 1 or total < wanted)
        assert abs(count - total * ratio) < 3


@pytest.mark.parametrize(
    ("total", "counts"),
    [(1, (1, 0, 0)), (2, (1, 1, 0)), (3, (1, 1, 1)), (5, (3, 1, 1)), (100, (60, 20, 20))],
)
def test_counts_of_small_classes(total: int, counts: tuple[int, int, int]) -> None:
    assert split_counts(total, (0.6, 0.2, 0.2)) == counts


def test_split_is_fixed_by_seed_and_class_alone() -> None:
    keys = [f"a/{number}" for number in range(50)]
    ratios = (0.6, 0.2, 0.2)
    split = split_class("a", keys, ratios, 0)
    assert split == split_class("a", keys[::-1], ratios, 0)
    assert split != split_class("a", keys, ratios, 1)
    assert split != split_class("b", keys, ratios, 0)
    assert sorted(key for part in split.values() for key in part) == sorted(keys)
    # Fixed for good: a later version must not move test pictures into train.
    assert split["val"][:3] == ["a/47", "a/33", "a/32"]

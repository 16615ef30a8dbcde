"""Sharing a class out over the splits."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.prepare.splits import shuffled_splits, split_counts


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
    counts = [30, 10, 10]
    splits = shuffled_splits("a", counts, 0)
    assert splits == shuffled_splits("a", counts, 0)
    assert splits != shuffled_splits("a", counts, 1)
    assert splits != shuffled_splits("b", counts, 0)
    assert [splits.count(split) for split in range(3)] == counts
    # Fixed for good: a later version must not move test pictures into train.
    keys = sorted(f"a/{number}" for number in range(50))
    val = {key for key, split in zip(keys, splits, strict=True) if split == 1}
    assert {"a/47", "a/33", "a/32"} < val

"""Collective operations without other processes: counts as digits, and the job of one rank."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from train.distributed.collectives import OneProcess
from train.distributed.mindspore_engine import from_digits, to_digits

counts = st.lists(st.integers(0, 2**45), min_size=1, max_size=5)


@given(st.lists(counts.map(lambda c: (c * 5)[:5]), min_size=1, max_size=8))
def test_counts_are_summed_exactly(per_rank: list[list[int]]) -> None:
    """In float32, which the reduction carries, a count above 2^24 would lose its last digits."""
    digits = [to_digits(np.array(c, np.int64)) for c in per_rank]
    total = np.sum(digits, axis=0, dtype=np.float32)
    assert from_digits(total).tolist() == np.sum(per_rank, axis=0, dtype=np.int64).tolist()


def test_digits_of_8192_ranks_are_exact() -> None:
    """Each digit's sum over the ranks stays below 2^24, the largest that float32 counts to."""
    counts = 2**48 - 1 - np.random.default_rng(0).integers(0, 100, 8192)
    total = to_digits(counts).reshape(-1, counts.size).sum(axis=1, dtype=np.float32)
    assert from_digits(total).tolist() == [counts.sum()]


def test_one_process_changes_nothing() -> None:
    vector, alone = np.arange(3, dtype=np.float32), OneProcess()
    assert alone.mean(vector) is vector and alone.broadcast(vector) is vector
    assert alone.all_reduce_cell() is None

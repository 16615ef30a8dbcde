from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from train.tasks.metrics import classification_metrics, confusion_matrix

pairs = st.lists(st.tuples(st.integers(-1, 3), st.integers(0, 3)), max_size=60)
NAMES = ["a", "b", "c", "d"]


@given(pairs)
def test_against_the_definitions_counted_one_by_one(items: list[tuple[int, int]]) -> None:
    labels = np.array([t for t, _ in items], np.int32)
    predictions = np.array([p for _, p in items], np.int32)
    metrics = classification_metrics(confusion_matrix(labels, predictions, 4), NAMES)

    valid = [(t, p) for t, p in items if t >= 0]
    n = len(valid)
    assert metrics["images"] == n
    recalls = {}
    for k, name in enumerate(NAMES):
        of_class = [p == k for t, p in valid if t == k]
        recalls[name] = sum(of_class) / len(of_class) if of_class else None
    assert metrics["per_class"] == recalls
    if not n:
        assert metrics["accuracy"] is metrics["average_accuracy"] is metrics["kappa"] is None
        return
    observed = Fraction(sum(t == p for t, p in valid), n)
    by_chance = sum(
        Fraction(sum(t == k for t, _ in valid) * sum(p == k for _, p in valid), n**2)
        for k in range(4)
    )
    known = [r for r in recalls.values() if r is not None]
    assert metrics["accuracy"] == float(observed)
    assert metrics["average_accuracy"] == pytest.approx(sum(known) / len(known))
    kappa = (observed - by_chance) / (1 - by_chance) if by_chance < 1 else 0
    assert metrics["kappa"] == pytest.approx(float(kappa), abs=1e-12)


def test_accuracy_is_not_average_accuracy() -> None:
    """Nine images of one class right, one of another wrong: 90 % overall, 50 % on average."""
    metrics = classification_metrics(np.array([[9, 0], [1, 0]]), ["many", "few"])
    assert metrics["accuracy"] == 0.9
    assert metrics["average_accuracy"] == 0.5
    assert metrics["kappa"] == 0.0


def test_rows_are_true_classes() -> None:
    matrix = confusion_matrix(np.array([0, 0, 1]), np.array([1, 1, 1]), 2)
    assert matrix.tolist() == [[0, 2], [0, 1]]

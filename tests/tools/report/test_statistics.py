"""Intervals and figures of classes, held against scipy and against counting."""

import numpy as np
import pytest
from scipy.stats import binomtest

from tools.report.statistics import class_figures, confused_pairs, evenly, iou_intervals, wilson


@pytest.mark.parametrize(("right", "total"), [(0, 1), (3, 36), (36, 36), (51, 100), (0, 0)])
def test_score_interval(right: int, total: int) -> None:
    found = wilson(right, total)
    if not total:
        assert found is None
        return
    expected = binomtest(right, total).proportion_ci(method="wilson")
    assert found is not None
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_figures_of_classes() -> None:
    first, second, third = class_figures(np.array([[3, 1, 0], [2, 4, 0], [0, 0, 0]]))
    assert (first.total, first.answered, first.right) == (4, 5, 3)
    assert first.precision == 3 / 5
    precision, recall = 4 / 5, 4 / 6
    assert second.f1 == pytest.approx(2 * precision * recall / (precision + recall))
    assert (third.precision, third.f1) == (None, None)


def test_pairs_that_are_confused() -> None:
    matrix = np.array([[3, 1, 5], [2, 4, 0], [1, 0, 0]])
    found = [(p.true, p.answered, p.count) for p in confused_pairs(matrix)]
    assert found == [(0, 2, 5), (1, 0, 2), (0, 1, 1), (2, 0, 1)]
    assert confused_pairs(matrix)[0].share == 5 / 9
    assert len(confused_pairs(matrix, 2)) == 2
    assert confused_pairs(np.diag([1, 2])) == []


def test_interval_of_an_iou() -> None:
    """Images that are alike leave no doubt; of others it grows narrower with their number."""
    same = np.repeat(np.array([[[8, 2], [0, 6]]]), 20, 0)
    first, second = iou_intervals(same)
    assert first is not None and second is not None
    assert (first.low, first.high) == pytest.approx((0.8, 0.8))
    assert (second.low, second.high) == pytest.approx((0.75, 0.75))
    rng = np.random.default_rng(0)
    widths = []
    for count in (30, 480):
        right = rng.integers(0, 11, count)
        matrices = np.array([[[r, 10 - r], [0, 5]] for r in right])
        found = iou_intervals(matrices)[0]
        assert found is not None
        assert found.low < right.sum() / (10 * count) < found.high
        widths.append(found.high - found.low)
    assert 3 < widths[0] / widths[1] < 5.5  # the root of 16
    assert iou_intervals(same[:1]) == [None, None]
    assert iou_intervals(np.zeros((3, 2, 2), np.int64)) == [None, None]


def test_even_choice() -> None:
    assert list(evenly(3, 5)) == [0, 1, 2]
    assert list(evenly(10, 4)) == [0, 2, 5, 7]

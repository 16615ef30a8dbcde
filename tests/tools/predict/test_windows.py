"""Squares of a picture: where they lie, how their answers are blended, and masks of other sizes."""

from itertools import pairwise

import numpy as np
import pytest

from tools.predict.windows import blended, most_likely, offsets, square


@pytest.mark.parametrize("size", [7, 16])
@pytest.mark.parametrize("more", [0, 1, 2, 5, 7, 8, 15, 16, 33, 100])
def test_squares_cover_the_picture_and_the_first_is_in_the_middle(size: int, more: int) -> None:
    long = size + more
    begins = offsets(long, size, whole=True)
    assert begins[0] == more // 2 == offsets(long, size, whole=False)[0]
    ordered = sorted(begins)
    assert ordered[0] == 0 and ordered[-1] == more and len(set(begins)) == len(begins)
    # Each lies over the next by half at least, but for the pixel that an odd one cannot share.
    assert all(b - a <= (size + 1) // 2 for a, b in pairwise(ordered))


@pytest.mark.parametrize("shape", [(8, 8), (8, 21), (21, 8), (8, 9)])
def test_a_network_that_sees_single_pixels_gives_the_same_without_seams(
    shape: tuple[int, int],
) -> None:
    """What it says of a pixel does not depend on the square: neither does what is blended."""
    pixels = np.random.default_rng(1).random((*shape, 3), np.float32)
    network = np.random.default_rng(2).random((3, 5), np.float32)
    whole = np.moveaxis(pixels @ network, -1, 0)
    begins = offsets(max(shape), 8, whole=True)
    parts = [np.moveaxis(square(pixels, b, 8) @ network, -1, 0) for b in begins]
    assert {part.shape for part in parts} == {(5, 8, 8)}
    np.testing.assert_allclose(blended(parts, begins, shape), whole, atol=1e-6)


def test_squares_weigh_most_in_their_middle() -> None:
    shape, begins = (4, 6), [1, 0, 2]
    parts = [np.full((1, 4, 4), value, np.float32) for value in (0.0, 0.0, 1.0)]
    found = blended(parts, begins, shape)[0, 0]
    # Weights 1 2 2 1 of each; in column 3 the last has 2 of 1 + 2 + 2.
    np.testing.assert_allclose(found, [0, 0, 1 / 5, 2 / 5, 2 / 3, 1], atol=1e-6)


def test_most_likely_class_at_the_same_size_and_at_others() -> None:
    probabilities = np.random.default_rng(0).dirichlet(np.ones(4), (9, 12)).astype(np.float32)
    probabilities = np.ascontiguousarray(np.moveaxis(probabilities, -1, 0))
    same = most_likely(probabilities, (12, 9))
    np.testing.assert_array_equal(same, probabilities.argmax(0))
    # Half of a picture is of one class, half of another: the border stays in its place.
    halves = np.zeros((2, 4, 8), np.float32)
    halves[0, :, :4], halves[1, :, 4:] = 1, 1
    larger = most_likely(halves, (80, 40))
    assert (larger[:, :40] == 0).all() and (larger[:, 40:] == 1).all()
    assert most_likely(halves, (3, 50)).shape == (50, 3)

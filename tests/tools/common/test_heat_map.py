"""Heat maps: the colours of the least and of the most, over the grey of the picture."""

import numpy as np

from tools.common.heat_map import heated, resized, scale


def test_colours_are_those_of_the_scale() -> None:
    colours = scale(3)
    assert colours[0] == "#000004" and colours[-1] == "#fcffa4"
    values = np.linspace(0.4, 0.6, 6, dtype=np.float32)[None].repeat(6, 0)
    shown = heated(np.zeros((60, 60, 3), np.uint8), values, 0.4, 0.6)
    brightest = [int(colours[-1][i : i + 2], 16) for i in (1, 3, 5)]
    np.testing.assert_allclose(shown[30, -1], 0.6 * np.array(brightest), atol=2)
    np.testing.assert_allclose(shown[30, 0], (0, 0, 2), atol=2)


def test_the_picture_is_seen_below_the_colours() -> None:
    picture = np.zeros((8, 8, 3), np.uint8)
    picture[:4] = 200
    flat = heated(picture, np.full((2, 2), 0.5, np.float32), 0.5, 0.5)
    assert (flat[0, 0].astype(int) - flat[-1, -1]).min() >= 79
    assert resized(np.eye(3), 12).shape == (12, 12)

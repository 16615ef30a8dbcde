"""Line charts: their axes, and lines that lie on each other."""

import re

import pytest

from tools.report.charts import Series, chart


def percent(value: float) -> str:
    return f"{100 * value:g} %"


def labels(drawn: str) -> list[str]:
    return re.findall(r"<text [^>]*>([^<]*)</text>", drawn)


@pytest.mark.parametrize(
    ("values", "low", "high"),
    [
        ((0.46, 0.967), "40 %", "100 %"),
        ((0.81, 0.855), "75 %", "90 %"),  # noise does not look like progress
        ((0.99, 1.0), "94 %", "100 %"),  # there is no more
        ((1.0, 1.0), "94 %", "100 %"),
        ((0.0, 0.0), "0 %", "6 %"),
    ],
)
def test_the_axis_goes_on_to_above_the_highest_point(
    values: tuple[float, float], low: str, high: str
) -> None:
    points = list(zip((200.0, 600.0), values, strict=True))
    drawn = chart("Accuracy", [Series("a", points, 0)], percent, 0.1, (0.0, 1.0))
    *shown, step = labels(drawn)
    levels = [label for label in shown if label.endswith("%")]
    assert (levels[0], levels[-1], step) == (low, high, "step")
    ys = [float(y) for y in re.findall(r'class="grid"[^>]*y1="([\d.]+)"', drawn)]
    [line] = re.findall(r'points="([^"]*)"', drawn)
    assert all(min(ys) <= float(p.partition(",")[2]) <= max(ys) for p in line.split())


def test_steps_end_with_the_last_one() -> None:
    drawn = chart("Loss", [Series("a", [(20.0, 1.0), (613.0, 2.0)], 0)], str)
    assert labels(drawn)[-5:] == ["0", "200", "400", "600", "step"]


def test_of_lines_on_each_other_one_is_drawn_and_the_others_are_told() -> None:
    points = [(1.0, 1.0), (2.0, 1.0)]
    series = [Series(n, points, i) for i, n in enumerate(("a", "b", "c"))]
    drawn = chart("Weights", [*series, Series("d", [(1.0, 2.0), (2.0, 3.0)], 3)], str)
    assert drawn.count("<polyline") == 2
    assert '<p class="note">b, c: the same line as a</p>' in drawn
    assert re.findall(r"</svg>([abcd])</span>", drawn) == ["a", "b", "c", "d"]

"""Line charts as inline SVG, drawn with the colours of the page."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil, floor, inf, isfinite, log10

from tools.report.markup import legend, text
from tools.report.runs import Points

# In units of the drawing, which is as wide as its place on the page.
_WIDTH, _HEIGHT = 360, 224
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 18, 8, 38
_MOST_POINTS = 300
_MIDDLE = (_LEFT + _WIDTH - _RIGHT) / 2
# Colours and dashes of the series, which repeat after so many (style.css).
COLOURS = 8


@dataclass(frozen=True)
class Series:
    """A line of a chart.

    Attributes:
        name: What it is called.
        points: (step, value); values that are not finite are left out.
        colour: Number of its colour.
        marked: Whether each point is marked, as for the few of evaluations.
    """

    name: str
    points: Points
    colour: int
    marked: bool = False

    @property
    def css(self) -> str:
        """The class of its colour."""
        return f"s{self.colour % COLOURS}"


def swatch(series: Series) -> str:
    """Return the mark of a series for a legend."""
    line = '<line x1="0" y1="5" x2="22" y2="5"/>'
    return f'<svg class="mark {series.css}" viewBox="0 0 22 10" aria-hidden="true">{line}</svg>'


def chart(
    title: str,
    series: Sequence[Series],
    form: Callable[[float], str],
    span: float = 0.0,
    limits: tuple[float, float] = (-inf, inf),
) -> str:
    """Return a chart with its title and legend; nothing where no series has a point.

    Args:
        title: What is shown.
        series: The lines.
        form: Writes a value of the vertical axis.
        span: The least that the vertical axis shows, so that noise does not look like progress.
        limits: Of what a value can be, and so of the axis.
    """
    drawn = [Series(s.name, _thinned(s.points), s.colour, s.marked) for s in series]
    drawn = [s for s in drawn if s.points]
    if not drawn:
        return ""
    steps = [x for s in drawn for x, _ in s.points]
    values = [y for s in drawn for _, y in s.points]
    low, high = min(values), max(values)
    spare = max(0.0, span - (high - low)) / 2
    across = [x for x in _ticks(min(steps), max(steps)) if x <= max(steps)]
    least, most = limits
    up = _ticks(max(low - spare, min(low, least)), min(high + spare, max(high, most)))
    place = _Place(min(min(steps), across[0]), max(steps), up[0], up[-1])
    parts = [*(_level(place, y, form(y)) for y in up), *(_column(place, x) for x in across)]
    parts.append(f'<text x="{_MIDDLE}" y="{_HEIGHT - 5}" text-anchor="middle">step</text>')
    seen, same = _told_apart(drawn)
    parts += [_line(place, s, form) for s in seen]
    ends = "; ".join(f"{s.name}: {form(s.points[-1][1])} at {s.points[-1][0]:,.0f}" for s in drawn)
    names = legend([s.name for s in drawn], [swatch(s) for s in drawn])
    alone = "" if len(drawn) > 1 else " alone"
    below = "" if alone else names + "".join(f'<p class="note">{text(s)}</p>' for s in same)
    return (
        f'<figure class="chart{alone}"><figcaption>{text(title)}</figcaption>'
        f'<svg role="img" viewBox="0 0 {_WIDTH} {_HEIGHT}" aria-label="{text(f"{title}. {ends}")}">'
        f"{''.join(parts)}</svg>{below}</figure>"
    )


def _told_apart(drawn: Sequence[Series]) -> tuple[list[Series], list[str]]:
    """Return the lines that are seen, and of those that lie on one of them a sentence each."""
    groups: dict[tuple[tuple[float, float], ...], list[Series]] = {}
    for series in drawn:
        groups.setdefault(tuple(series.points), []).append(series)
    same = [
        f"{', '.join(s.name for s in others)}: the same line as {first.name}"
        for first, *others in groups.values()
        if others
    ]
    return [first for first, *_ in groups.values()], same


@dataclass(frozen=True)
class _Place:
    """From steps and values to places in the drawing."""

    first: float
    last: float
    low: float
    high: float

    def x(self, step: float) -> float:
        return _LEFT + (step - self.first) / ((self.last - self.first) or 1) * (
            _WIDTH - _LEFT - _RIGHT
        )

    def y(self, value: float) -> float:
        share = (value - self.low) / ((self.high - self.low) or 1)
        return _HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM)


def _level(place: _Place, value: float, shown: str) -> str:
    y = place.y(value)
    return (
        f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{text(shown)}</text>'
    )


def _column(place: _Place, step: float) -> str:
    x = place.x(step)
    return f'<text x="{x:.1f}" y="{_HEIGHT - 20}" text-anchor="middle">{step:,.0f}</text>'


def _line(place: _Place, series: Series, form: Callable[[float], str]) -> str:
    points = " ".join(f"{place.x(x):.1f},{place.y(y):.1f}" for x, y in series.points)
    drawn = f'<polyline points="{points}"/>'
    if series.marked or len(series.points) == 1:
        for x, y in series.points:
            told = text(f"{series.name}: {form(y)} at step {x:,.0f}")
            drawn += (
                f'<circle cx="{place.x(x):.1f}" cy="{place.y(y):.1f}" r="3">'
                f"<title>{told}</title></circle>"
            )
    return f'<g class="{series.css}">{drawn}</g>'


def _thinned(points: Points) -> Points:
    """Return the finite points; of very many, the means of neighbours, and the last one."""
    known = [(x, y) for x, y in points if isfinite(y)]
    if len(known) <= _MOST_POINTS:
        return known
    size = ceil((len(known) - 1) / (_MOST_POINTS - 1))
    parts = [known[i : i + size] for i in range(0, len(known) - 1, size)]
    means = [(part[-1][0], sum(y for _, y in part) / len(part)) for part in parts]
    return [*means[:-1], known[-1]]


def _ticks(low: float, high: float) -> list[float]:
    """Return round numbers, about five: from below a low one, or it, to above a high one, or it."""
    if low == high:
        low, high = (0.0, 1.0) if low == 0 else sorted((0.0, 2 * low))
    raw = (high - low) / 4
    power = 10.0 ** floor(log10(raw))
    step = next(f * power for f in (1, 2, 2.5, 5, 10) if f * power >= raw)
    first, last = floor(low / step + 1e-9), ceil(high / step - 1e-9)
    return [i * step for i in range(first, last + 1)]

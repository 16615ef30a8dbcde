"""The confusion matrix of a task as inline SVG, as wide as its place on the page."""

from collections.abc import Sequence

from tools.report.markup import text
from tools.report.statistics import Matrix

_CELL = 34
_LETTER = 6.6
_LONGEST = 24
# With more classes, numbers in the cells are too small to be read: they are in the titles.
_MOST_WITH_NUMBERS = 16


def matrix(counts: Matrix, classes: Sequence[str], title: str, of_pixels: bool) -> str:
    """Return a confusion matrix: rows are true classes, columns answered ones.

    Args:
        counts: (K, K).
        classes: Names of the K classes.
        title: What it is of.
        of_pixels: Whether cells show the share of their row in percent, as for pixels, of which
            there are too many to be written.
    """
    number = len(classes)
    names = [name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…" for name in classes]
    margin = 12 + max(map(len, names)) * _LETTER
    side = number * _CELL
    width, height = margin + side + 4, margin + side + 4
    parts = [f'<rect class="paper" x="{margin}" y="{margin}" width="{side}" height="{side}"/>']
    for i, name in enumerate(names):
        middle = margin + (i + 0.5) * _CELL
        parts.append(
            f'<text x="{margin - 6}" y="{middle + 4}" text-anchor="end">{text(name)}</text>'
        )
        parts.append(
            f'<text transform="translate({middle + 4} {margin - 6}) rotate(-90)">'
            f"{text(name)}</text>"
        )
    for true, row in enumerate(counts):
        total = int(row.sum())
        for answered, count in enumerate(map(int, row)):
            if count:
                parts.append(_cell(true, answered, count, total, classes, margin, of_pixels))
    unit = "pixels" if of_pixels else "images"
    label = text(f"Confusion matrix of {title}, {int(counts.sum()):,} {unit}")
    # About as large as its letters are in the text, where there is room.
    return (
        f'<svg class="matrix" role="img" aria-label="{label}" viewBox="0 0 {width:.0f} '
        f'{height:.0f}" style="max-width:{min(width * 1.15, 1100):.0f}px">{"".join(parts)}</svg>'
    )


def _cell(
    true: int,
    answered: int,
    count: int,
    total: int,
    classes: Sequence[str],
    margin: float,
    of_pixels: bool,
) -> str:
    x, y, share = margin + answered * _CELL, margin + true * _CELL, count / total
    css = "right" if true == answered else "wrong"
    # So that a single mistake among many is seen.
    strength = 0.1 + 0.9 * share**0.6
    told = text(f"{classes[true]} → {classes[answered]}: {count:,} of {total:,} ({share:.1%})")
    shown = f"{100 * share:.0f}" if of_pixels else str(count)
    drawn = (
        f'<rect class="{css}" x="{x + 0.5}" y="{y + 0.5}" width="{_CELL - 1}" '
        f'height="{_CELL - 1}" fill-opacity="{strength:.2f}"/>'
    )
    if len(classes) <= _MOST_WITH_NUMBERS and not (of_pixels and share < 0.005):
        strong = ' class="on"' if strength > 0.55 else ""
        drawn += (
            f'<text{strong} x="{x + _CELL / 2}" y="{y + _CELL / 2 + 4}" '
            f'text-anchor="middle">{shown}</text>'
        )
    return f"<g><title>{told}</title>{drawn}</g>"

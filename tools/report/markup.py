"""Pieces of HTML: escaped text, tables, pictures as data."""

import html
import re
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from tools.common.data_uri import data_uri
from tools.report.statistics import Interval

Pixels = npt.NDArray[np.uint8]


def text(value: object) -> str:
    """Return a text in which nothing is markup."""
    return html.escape(str(value), quote=True)


def breakable(name: object) -> str:
    """Return a name as text that a narrow place breaks between its words, not within."""
    return re.sub("([/_])(?=.)", r"\1<wbr>", text(name))


def figure_cell(run: str, path: Sequence[str], shown: str) -> str:
    """Return a cell with a figure of summary.json, which tells where it is from.

    Args:
        run: Name of the run.
        path: Keys that lead to it.
        shown: The figure as it is written.
    """
    where = text("/".join(path))
    return f'<td class="n" data-run="{text(run)}" data-figure="{where}">{text(shown)}</td>'


def row(cells: Iterable[str], heading: str | None = None) -> str:
    """Return a row of ready cells, with its heading as text."""
    first = "" if heading is None else f'<th scope="row">{breakable(heading)}</th>'
    return f"<tr>{first}{''.join(cells)}</tr>"


def table(headings: Sequence[str], rows: Iterable[str], css: str = "") -> str:
    """Return a table of ready rows; wider ones than the page scroll on their own.

    Cells repeat their headings, which stand before them where a narrow page shows a row as a block.
    Headings may have two lines.
    """
    lines = [text(heading).replace("\n", "<br>") for heading in headings]
    head = "".join(f'<th scope="col">{line}</th>' for line in lines)
    return (
        f'<div class="scroll"><table class="{css}"><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(_labelled(r, headings[1:]) for r in rows)}</tbody></table></div>"
    )


def _labelled(ready: str, headings: Sequence[str]) -> str:
    first, *cells = ready.split("<td")
    pairs = zip((heading.replace("\n", " ") for heading in headings), cells, strict=True)
    return first + "".join(f'<td data-label="{text(name)}"{cell}' for name, cell in pairs)


def number(value: object) -> str:
    """Return a cell with a number as it is written."""
    return f'<td class="n">{text(value)}</td>'


def legend(names: Sequence[str], swatches: Sequence[str]) -> str:
    """Return names with the marks that stand for them, which are ready markup."""
    items = zip(swatches, names, strict=True)
    return f'<p class="legend">{"".join(f"<span>{s}{text(n)}</span>" for s, n in items)}</p>'


def interval_text(interval: Interval | None) -> str:
    """Return an interval of ratios in percent."""
    return "-" if interval is None else f"{100 * interval.low:.1f}–{100 * interval.high:.1f}"  # noqa: RUF001


def picture(pixels: Pixels, alt: str, css: str = "", lossless: bool = False) -> str:
    """Return an image element that holds its pixels, uint8 (H, W, 3)."""
    height, width = pixels.shape[:2]
    return (
        f'<img class="{css}" width="{width}" height="{height}" alt="{text(alt)}" '
        f'src="{data_uri(pixels, lossless)}">'
    )

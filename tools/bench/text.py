"""The table: for a terminal, for a Markdown page, and put into one."""

from tools.bench.results import Case, Comparison, Document, Form, Measured, Spread
from tools.common import console
from tools.common.page_part import PagePart

PART = PagePart(
    "<!-- tools bench: begin of the table -->", "<!-- tools bench: end of the table -->"
)

_HEADINGS = ["row", "measured", "what is compared", "one", "other", "result", "range", "goal"]
_NOTHING = "-"


def table(document: Document, markdown: bool) -> str:
    """Return all comparisons, with the notes below them."""
    rows = [_HEADINGS]
    notes: dict[str, int] = {}
    for name, measured in document.in_order().items():
        for case in measured.cases:
            rows += [[name, case.name, *_cells(case, c, notes)] for c in case.comparisons]
        if measured.failure:
            number = notes.setdefault(f"not finished: {measured.failure}", len(notes) + 1)
            rows.append([name, f"({number})", *[_NOTHING] * 6])
    lines = [console.table(rows, markdown)]
    # Paragraphs of their own: Markdown would join the lines of one.
    lines += [f"({number}) {note}" for note, number in notes.items()]
    lines.append(_circumstances(document))
    return ("\n\n" if markdown else "\n").join(lines)


def _cells(case: Case, comparison: Comparison, notes: dict[str, int]) -> list[str]:
    """Return the cells from "what is compared" to "goal"."""
    values = comparison.values(case.series)
    goal = comparison.goal
    wanted = _NOTHING if goal is None else f"{goal.sign} {_number(goal.bound, comparison.form)}"
    one = _median(case, comparison.of, notes)
    other = _NOTHING if comparison.to is None else _median(case, comparison.to, notes)
    if not values:
        return [comparison.what, one, other, _NOTHING, _NOTHING, wanted]
    spread = Spread.of(values)
    result = _number(spread.median, comparison.form)
    low, high = (_number(v, comparison.form) for v in (spread.low, spread.high))
    if goal is not None:
        wanted += ": yes" if goal.is_reached(spread.median) else ": no"
    if comparison.to is None:
        one, result = _NOTHING, one
    extent = f"{low} to {high}" if len(values) > 1 else "one round"
    return [comparison.what, one, other, result, extent, wanted]


def _median(case: Case, series: str, notes: dict[str, int]) -> str:
    """Return the median of a series with its unit, or the number of the note why there is none."""
    values = case.series.get(series)
    if values:
        return f"{Spread.of(values).median:,.4g} {case.unit}"
    why = case.missing.get(series, "not measured")
    return f"({notes.setdefault(why, len(notes) + 1)})"


def _number(value: float, form: Form) -> str:
    if form == "percent":
        return f"{value:.1f} %"
    return f"{value:.2f}" if abs(value) < 10 else f"{value:,.0f}"


def _circumstances(document: Document) -> str:
    """Return on what, with what and when all this was measured, in one line."""
    machine, rows = document.machine, document.rows.values()
    peers = [p for row in rows for case in row.cases for p in case.facts.get("peers", {}).values()]
    ranks = [rank for peer in peers for rank in peer]
    versions = [f"{name} {version}" for name, version in machine["versions"].items() if version]
    versions += sorted({f"{k} {v}" for rank in ranks for k, v in rank["versions"].items()})
    reasons = {rank.get("no_native_operators") for rank in ranks} - {None}
    parts = [
        f"{machine['processor']} ({machine['architecture']}), {machine['cores']} cores, "
        f"{machine['memory_gb']:g} GB",
        f"Python {machine['python']}, {', '.join(dict.fromkeys(versions))}",
        *(f"without native operators: {reason}" for reason in sorted(reasons)),
        *sorted({_moment(row) for row in rows}),
    ]
    return "; ".join(parts) + "."


def _moment(row: Measured) -> str:
    commit = (row.moment["commit"] or "unknown")[:8]
    changes = " with changes" if row.moment["uncommitted_changes"] else ""
    quick = ", --quick: tiny sizes, the figures say nothing" if row.settings["quick"] else ""
    return f"{row.moment['when'][:10]}, commit {commit}{changes}{quick}"

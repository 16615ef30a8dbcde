"""A report as one page that needs nothing else: no script, no font, no picture from anywhere."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tools.common.heat_map import scale
from tools.report import curves, overview, ranks, tasks
from tools.report.markup import text
from tools.report.runs import RunRecord
from tools.report.tasks import Seen

_STYLE = Path(__file__).parent / "style.css"
# Whatever stands in a name of a class or a file: the page loads nothing and runs nothing.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"

# In the navigation, in place of the titles of sections.
_SHORT = {"attention": "Attention", "settings": "Configuration"}


def page(runs: Sequence[RunRecord], seen: Seen) -> str:
    """Return the page.

    Args:
        runs: The runs, at least one, with different names.
        seen: What was seen of the pictures of a run, by its name: None or nothing if nobody looked,
            a text if there was no way to.
    """
    names = list(dict.fromkeys(task for run in runs for task in run.tasks))
    title = " · ".join(run.name for run in runs)
    one = runs[0] if len(runs) == 1 else None
    mark = overview.status(one) if one else ""
    sections = [
        ("results", "Results", tasks.figures(runs, names)),
        ("curves", "Curves", curves.section(runs)),
        ("ranks", "Ranks", ranks.section(runs)),
        ("attention", "Where the tasks look", _attention(runs, seen)),
        *((f"task-{t}", t, tasks.section(t, runs, seen)) for t in names),
        ("settings", "Configuration and versions", overview.settings(runs)),
    ]
    shown = [section for section in sections if section[-1]]
    parts = [
        f"<header><p>Training report</p><h1>{text(title)} {mark}</h1>"
        f"{overview.key_figures(runs)}{overview.events(runs)}</header>",
        _navigation([(place, title) for place, title, _ in shown]),
        *(_section(*section) for section in shown),
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark"><link rel="icon" href="data:,">'
        f"<title>{text(title)}: training report</title>"
        f"<style>{_style()}</style></head>"
        f"<body><main>{''.join(parts)}</main></body></html>\n"
    )


def _style() -> str:
    return _STYLE.read_text(encoding="utf-8").replace("HEAT_COLOURS", ", ".join(scale()))


def _navigation(places: Sequence[tuple[str, str]]) -> str:
    links = "".join(
        f'<a href="#{text(to)}">{text(_SHORT.get(to, title))}</a>' for to, title in places
    )
    return f"<nav>{links}</nav>"


def _section(place: str, title: str, content: str) -> str:
    return f'<section id="{text(place)}"><h2>{text(title)}</h2>{content}</section>'


def _attention(runs: Sequence[RunRecord], seen: Seen) -> str:
    parts = []
    for number, run in enumerate(runs):
        looks = seen.get(run.name)
        heading = "" if len(runs) == 1 else f"<h3>{text(run.name)}</h3>"
        if isinstance(looks, str):
            parts.append(f'{heading}<p class="note">No pictures: {text(looks)}</p>')
        elif looks is not None:
            from tools.report import pictures

            intro = (
                '<p class="note">The trunk sees each picture once; every task masks its maps with '
                "an attention module of its own. Bright: what the task lets through. Framed: the "
                "task that was trained on such pictures.</p>"
            )
            parts.append(f"{heading}{intro}{pictures.attention(looks, number)}")
    return "".join(parts)

"""The parts of a report that show pictures: mistakes, attention, segmentation.

Shapes: H, W = height and width that the network sees, S = that of pictures on the page.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from tools.common.heat_map import heated
from tools.describe.mask_colours import Colours, colours_of, paint
from tools.report.looks import (
    MOST_MISTAKES,
    SIDE,
    Attended,
    Look,
    Looks,
    Mistake,
    Original,
    Painted,
)
from tools.report.markup import Pixels, breakable, legend, picture, text
from tools.report.statistics import Pair
from train.data.records import IGNORE_INDEX
from train.tasks.registry import percent

# How strongly colours cover the picture below them.
_PAINT = 0.55
_LIMITS = (1, 99)
# With more tasks, a picture and the attention of all need the width of the page.
_MOST_IN_HALF = 5


def mistakes(looks: Looks, task: str) -> str:
    """Return the wrong answers of a scene task that the network was most sure of."""
    look = looks.tasks[task]
    shown = look.mistakes[:MOST_MISTAKES]
    if not shown:
        return '<p class="note">No mistake among the pictures that were looked at.</p>'
    return f'<div class="pictures">{"".join(_mistake(looks, look, m) for m in shown)}</div>'


def _mistake(looks: Looks, look: Look, mistake: Mistake) -> str:
    original = looks.originals[look.task.dataset, mistake.number]
    true, answered = look.task.classes[mistake.true], look.task.classes[mistake.answered]
    share = percent(mistake.probability, 1)
    return (
        f'<figure class="card">{picture(original.pixels, f"{original.key}: {true}")}'
        f'<figcaption><span class="bad">{text(answered)}</span> '
        f'<span class="n">{share}</span><br>is <b>{text(true)}</b>'
        f'<span class="key">{breakable(original.key)}</span></figcaption></figure>'
    )


def examples(looks: Looks | None, task: str, pair: Pair) -> str:
    """Return small pictures of a pair that is confused, as a cell of a table."""
    if looks is None or task not in looks.tasks:
        return ""
    look = looks.tasks[task]
    found = [
        looks.originals[look.task.dataset, mistake.number]
        for mistake in look.of_pair(pair.true, pair.answered)
    ]
    small = [
        f'<span class="thumb" title="{text(o.key)}">{picture(_shrunk(o.pixels), o.key)}'
        f"{breakable(o.key.rpartition('/')[2])}</span>"
        for o in found
    ]
    return f'<td class="thumbs">{"".join(small)}</td>'


def attention(looks: Looks, run: int) -> str:
    """Return where all tasks look at in the same pictures, level by level.

    Args:
        looks: What was seen.
        run: Number of the run on the page.
    """
    if not looks.attention:
        return '<p class="note">The branches of this network have no attention modules.</p>'
    levels = len(looks.attention[0].maps[0])
    names = _level_names(looks.attention[0])
    group = f"level-{run}"
    # Without a script: which of the blocks is seen depends on the button before them.
    buttons = "".join(
        f'<input type="radio" name="{group}" id="{group}-{level}" class="pick pick{level}"'
        f'{" checked" if level == 0 else ""}><label for="{group}-{level}">{text(name)}</label>'
        for level, name in enumerate(names)
    )
    blocks = "".join(_level(looks, level) for level in range(levels))
    return f'<div class="levels">{buttons}{blocks}</div>'


def _level_names(attended: Attended) -> list[str]:
    shapes = [level.shape for level in attended.maps[0]]
    return [f"level {i + 1}, {shape[0]} × {shape[1]}" for i, shape in enumerate(shapes)]  # noqa: RUF001


def _scales(looks: Looks, level: int) -> list[tuple[float, float]]:
    """Return what is dark and what is bright of every task on a level.

    Where a task looks is what counts, not how much it lets through in all: each has its own.
    """
    values = [
        np.concatenate([attended.maps[i][level].ravel() for attended in looks.attention])
        for i in range(len(looks.tasks))
    ]
    limits = [np.percentile(of_task, _LIMITS) for of_task in values]
    return [(float(low), float(high)) for low, high in limits]


def attention_rows(looks: Looks, level: int) -> list[list[Pixels]]:
    """Return, for every picture, the picture and the attention of every task on a level."""
    scales = _scales(looks, level)
    rows = []
    for attended in looks.attention:
        original = looks.originals[attended.dataset, attended.number]
        maps = zip(attended.maps, scales, strict=True)
        shown = [heated(original.pixels, of_task[level], *scale) for of_task, scale in maps]
        rows.append([original.pixels, *shown])
    return rows


def _level(looks: Looks, level: int) -> str:
    tasks, scales, pieces = list(looks.tasks), _scales(looks, level), []
    for attended, (pixels, *maps) in zip(
        looks.attention, attention_rows(looks, level), strict=True
    ):
        original = looks.originals[attended.dataset, attended.number]
        cells = [_cell(picture(pixels, original.key), attended.dataset, "own")]
        for task, shown in zip(tasks, maps, strict=True):
            own = "own" if looks.tasks[task].task.dataset == attended.dataset else ""
            cells.append(_cell(picture(shown, f"attention of {task} on {original.key}"), task, own))
        pieces.append(
            f'<figure class="strip"><div class="scroll" style="--cells:{len(cells)}">'
            f"{''.join(cells)}</div>"
            f'<figcaption class="key">{breakable(original.key)}</figcaption></figure>'
        )
    ranges = ", ".join(
        f'<span class="n">{text(task)} {low:.2f}–{high:.2f}</span>'  # noqa: RUF001
        for task, (low, high) in zip(tasks, scales, strict=True)
    )
    scale = (
        '<p class="note"><span class="scale"></span> from the least to the most of each task; the '
        f"mean of its soft mask over the channels: {ranges}.</p>"
    )
    many = " many" if len(tasks) > _MOST_IN_HALF else ""
    strips = f'<div class="strips{many}">{"".join(pieces)}</div>'
    return f'<div class="level level{level}">{scale}{strips}</div>'


def _cell(image: str, name: str, css: str) -> str:
    return f'<div class="cell {css}">{image}<span>{breakable(name)}</span></div>'


def painted(looks: Looks, task: str) -> str:
    """Return pictures of a segmentation task: truth, answer, and what is wrong."""
    look = looks.tasks[task]
    if look.space is None:
        return ""
    colours = colours_of(look.space)
    names = [*look.space.classes, "no class"]
    swatches = [
        f'<i style="background:rgb{colour}"></i>' for colour in (*colours.classes, colours.no_class)
    ]
    rows = "".join(_painted(looks, look, p) for p in look.painted)
    return f'{legend(names, swatches)}<div class="strips">{rows}</div>'


def painted_row(looks: Looks, look: Look, shown: Painted) -> list[Pixels]:
    """Return a picture, its truth, its answer and its wrong pixels."""
    original = looks.originals[look.task.dataset, shown.number]
    if look.space is None:
        return [original.pixels]
    colours = colours_of(look.space)
    covered = [_covered(original, mask, colours) for mask in (shown.truth, shown.answer)]
    return [original.pixels, *covered, _wrong(original, shown)]


def _painted(looks: Looks, look: Look, shown: Painted) -> str:
    original = looks.originals[look.task.dataset, shown.number]
    names = ("picture", "truth", "answer", "wrong pixels")
    cells = zip(painted_row(looks, look, shown), names, strict=True)
    drawn = "".join(_cell(picture(p, f"{original.key}: {name}"), name, "") for p, name in cells)
    return (
        f'<figure class="strip"><div style="--cells:{len(names)}">{drawn}</div>'
        f'<figcaption class="key">{breakable(original.key)} · {percent(shown.right, 1)} '
        "of its pixels are right</figcaption></figure>"
    )


def _covered(original: Original, mask: Pixels, colours: Colours) -> Pixels:
    cover = _enlarged(paint(mask, colours))
    return np.asarray((1 - _PAINT) * original.pixels + _PAINT * cover, np.uint8)


def _wrong(original: Original, shown: Painted) -> Pixels:
    """Return a picture, in light grey, with the wrong pixels in red."""
    wrong = (shown.truth != shown.answer) & (shown.truth != IGNORE_INDEX)
    red = _enlarged(np.repeat(wrong[..., None].astype(np.uint8) * 255, 3, -1)) > 0
    grey = 110 + original.pixels.mean(-1, keepdims=True).repeat(3, -1) * 0.5
    return np.where(red, np.array((214, 40, 40)), grey).astype(np.uint8)


def _enlarged(pixels: Pixels) -> Pixels:
    image = Image.fromarray(pixels).resize((SIDE, SIDE), Image.Resampling.NEAREST)
    return np.asarray(image)


def _shrunk(pixels: Pixels) -> Pixels:
    return np.asarray(Image.fromarray(pixels).resize((56, 56), Image.Resampling.LANCZOS))


def how_looked(looks: Looks, tasks: Sequence[str], agreed: bool | None) -> str:
    """Return what the pictures of some tasks are of, in a sentence or two."""
    datasets = dict.fromkeys(looks.tasks[task].task.dataset for task in tasks)
    counts = ", ".join(
        f"{looks.looked_at[d][0]:,} of {looks.looked_at[d][1]:,} {looks.split[d]} pictures of {d}"
        for d in datasets
    )
    same = {
        None: "",
        True: ": the confusion matrix is that of the run",
        False: ": some answers differ from those of the run (another device or precision)",
    }[agreed]
    return (
        f'<p class="note">Answered again for this page by the checkpoint of step '
        f"{looks.step:,}: {text(counts)}{same}.</p>"
    )

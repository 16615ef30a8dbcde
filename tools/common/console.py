"""What the tools show while they work and when they are done: progress, and tables."""

import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from train.program.tables import fitted, terminal_width

if TYPE_CHECKING:
    from train.data.manifest import Manifest

_LINE_EVERY = 15.0

# Takes the number of items finished since its last call.
Advance = Callable[[int], None]
# Takes the bytes that are there and their number in the end (None: not known).
Moved = Callable[[int, int | None], None]


@contextmanager
def progress(title: str, total: int) -> Iterator[Advance]:
    """Show how far a job is, on standard error: a bar on a terminal, else one line."""
    if not sys.stderr.isatty():
        print(f"{title}: {total} pictures ...", file=sys.stderr, flush=True)
        yield lambda count: None
        return
    with _bar("MofNCompleteColumn") as bar:
        task = bar.add_task(title, total=total)
        yield lambda count: bar.advance(task, count)


@contextmanager
def rated_progress(title: str, total: int, unit: str) -> Iterator[Advance]:
    """Show how far a job is and how fast, on standard error: a bar, or a line now and then.

    Args:
        title: What is done.
        total: How many there are.
        unit: What they are.
    """
    if not sys.stderr.isatty():
        yield _rated_lines(title, total, unit)
        return
    with _bar() as bar:
        bar.columns = (*bar.columns[:-1], *_rated_columns(unit), bar.columns[-1])
        task = bar.add_task(title, total=total)
        yield lambda count: bar.advance(task, count)


def _rated_columns(unit: str) -> list[Any]:
    """Return columns of rich's progress bar with the numbers and the speed."""
    from rich import progress as rich
    from rich.text import Text

    class Numbers(rich.ProgressColumn):
        def render(self, task: rich.Task) -> Text:
            return Text(f"{task.completed:,.0f}/{task.total or 0:,.0f}")

    class Rate(rich.ProgressColumn):
        def render(self, task: rich.Task) -> Text:
            speed = task.finished_speed or task.speed
            return Text(f"{_speed(speed)} {unit}/s" if speed else "")

    return [Numbers(), Rate()]


def _speed(speed: float) -> str:
    """Return a speed; of a large one, nobody asks for decimals."""
    return f"{speed:,.0f}" if speed >= 100 else f"{speed:.1f}"


def counted(count: int, plural: str) -> str:
    """Return "1 picture", "2 pictures" and so on."""
    return f"{count:,} {plural.removesuffix('s') if count == 1 else plural}"


def printable(name: str) -> str:
    """Return a name in one line, with escapes for what would end it."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in name)


def _rated_lines(title: str, total: int, unit: str) -> Advance:
    """Return a function that prints how far a job is, every few seconds."""
    done, first, began = 0, 0, 0.0
    due = math.inf
    print(f"{title}: {counted(total, unit)} ...", file=sys.stderr, flush=True)

    def advance(count: int) -> None:
        nonlocal done, first, began, due
        done += count
        now = time.monotonic()
        if not began:  # what comes before, such as a network being compiled, is no speed
            first, began, due = done, now, now + _LINE_EVERY
        elif now >= due:
            due = now + _LINE_EVERY
            speed = (done - first) / (now - began)
            left = (total - done) / speed
            text = f"{done:,} of {total:,} {unit}, {_speed(speed)} {unit}/s, {left:,.0f} s left"
            print(f"{title}: {text}", file=sys.stderr, flush=True)

    return advance


@contextmanager
def transfer(title: str) -> Iterator[Moved]:
    """Show bytes as they come, on standard error: a bar on a terminal, else a line now and then."""
    if not sys.stderr.isatty():
        yield _lines(title)
        return
    with _bar("DownloadColumn", "TransferSpeedColumn") as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _bar(*counts: str) -> Any:
    """Return rich's progress bar with these columns between the bar and the time left."""
    # Imported here since it takes longer than most commands without a bar.
    from rich import progress as rich
    from rich.console import Console

    columns = [getattr(rich, name)() for name in ("BarColumn", *counts, "TimeRemainingColumn")]
    title = rich.TextColumn("{task.description}")
    return rich.Progress(title, *columns, console=Console(stderr=True), transient=True)


def _lines(title: str) -> Moved:
    """Return a function that prints how far a transfer is, at once and then every few seconds."""
    due = 0.0

    def moved(done: int, total: int | None) -> None:
        nonlocal due
        if time.monotonic() >= due:
            due = time.monotonic() + _LINE_EVERY
            end = f"{total / 1e6:.1f}" if total is not None else "?"
            print(f"{title}: {done / 1e6:.1f} of {end} MB", file=sys.stderr, flush=True)

    return moved


def table(
    rows: Sequence[Sequence[object]], markdown: bool = False, widest: int | None = None
) -> str:
    """Lay rows, the headings first, out as Markdown or so that they fit the terminal.

    Args:
        rows: The cells.
        markdown: Whether it is Markdown.
        widest: Columns to keep to where the terminal is wider, or there is none.
    """
    if not markdown:
        # What is indented by two more must fit too.
        terminal = (terminal_width() or sys.maxsize) - 2
        return fitted(rows, min(terminal, widest or terminal))
    texts = [[str(cell) for cell in row] for row in rows]
    lines = [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in r)} |" for r in texts]
    return "\n".join([lines[0], "|---" * len(texts[0]) + "|", *lines[1:]])


def class_table(manifest: "Manifest") -> str:
    """Return the records of every class in every split, as a table."""
    splits = manifest.splits.values()
    rows: list[list[object]] = [["class", *manifest.splits, "total"]]
    for label, name in enumerate(manifest.classes):
        counts = [split.per_class[label] for split in splits]
        rows.append([name, *counts, sum(counts)])
    totals = [split.records for split in splits]
    return table([*rows, ["total", *totals, sum(totals)]])


def pixel_table(manifest: "Manifest", space: str) -> str:
    """Return the share of every class in the pixels of a label space of masks, as a table."""
    found = [shares(split.pixels[space]) for split in manifest.splits.values()]
    rows: list[list[object]] = [[f"pixels of {space}", *manifest.splits]]
    for position, name in enumerate([*manifest.masks[space].classes, "(no class)"]):
        rows.append([name, *(f"{of_split[position]:.1%}" for of_split in found)])
    return table(rows)


def shares(pixels: Sequence[int]) -> list[float]:
    """Return the shares of the classes and, last, of what has none, in all pixels."""
    total = max(1, sum(pixels))
    return [count / total for count in pixels]

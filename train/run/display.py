"""What the user sees while a run goes on: a progress bar, or plain lines without a terminal."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console, RenderableType
from rich.markup import escape
from rich.measure import Measurement
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from train.program.tables import fitted, terminal_width
from train.tasks.registry import KINDS, TaskKind, kind_of, percent

# Of tables where nobody knows how wide the output is.
_WIDTH = 120


class Display:
    """The progress and the results of a run on standard output.

    Args:
        steps: Length of the run.
        shown: Whether anything is shown at all.
        plain: Whether to show plain lines even where the output looks like a terminal.
    """

    def __init__(self, steps: int, shown: bool = True, plain: bool = False) -> None:
        terminal = sys.stdout.isatty() and shown and not plain
        self.console = Console(
            width=None if terminal else terminal_width() or _WIDTH,
            force_terminal=terminal,
            highlight=False,
            quiet=not shown,
        )
        self.steps = steps
        self.bar = _Bar(self.console, steps) if terminal else None

    def say(self, text: str) -> None:
        """Show a line of text."""
        self.console.print(text, markup=False, soft_wrap=True)

    def update(
        self, step: int, losses: Mapping[str, float], images_per_second: float, seconds_left: float
    ) -> None:
        """Show the state of the run after ``step`` steps.

        Args:
            step: Steps done.
            losses: Mean loss of every task over the last steps.
            images_per_second: Over all ranks.
            seconds_left: Estimate of the time to the end of the run.
        """
        loss = "  ".join(f"{task} {value:.3f}" for task, value in losses.items())
        rest = f"{images_per_second:,.0f} images/s  {_duration(seconds_left)} left"
        if self.bar is not None:
            self.bar.show(step, rest, loss)
        else:
            self.say(f"step {step}/{self.steps}  loss {loss}  {rest}")

    def metrics(self, title: str, tasks: Mapping[str, Mapping[str, Any]]) -> None:
        """Show one line with the main metric of every task: accuracy or mean IoU."""
        parts = []
        for kind, what in KINDS.items():
            of_kind = [
                f"{name} {percent(what.main.of(metrics), 1)}"
                for name, metrics in tasks.items()
                if kind_of(metrics) == kind
            ]
            if of_kind:
                parts.append(f"{what.main.heading} {'  '.join(of_kind)}")
        self.say(f"{title}: {'; '.join(parts)}")

    def summary(self, summary: Mapping[str, Any], run_dir: str) -> None:
        """Show the tables at the end of a run, of what is in summary.json."""
        self.close()
        for kind, what in KINDS.items():
            tasks = {
                name: splits
                for name, splits in summary["tasks"].items()
                if kind_of(splits["test"]) == kind
            }
            if tasks:
                self._show_table(what, tasks)
        ranks = "1 rank" if summary["world_size"] == 1 else f"{summary['world_size']} ranks"
        lost = summary.get("saving", 0.0)
        saving = f"; {percent(lost, 1)} of the time lost to checkpoints" if lost >= 0.01 else ""
        self.say(
            f"{summary['images_seen']:,} images in {_duration(summary['wall_seconds'])} on "
            f"{ranks}; training: {summary['images_per_second']:,.0f} images/s{saving}"
        )
        if best := summary.get("best"):
            mean = percent(best["validation"]["mean"])
            self.say(f"Best on val: step {best['step']}, mean {mean}: {best['checkpoint']}")
        self.say(f"Run folder: {run_dir}")

    def _show_table(self, kind: TaskKind, tasks: Mapping[str, Mapping[str, Any]]) -> None:
        """Show the table of all tasks of a kind, and what a reference in it is."""
        rows = _rows(kind, tasks)
        high = [[heading.replace(" ", "\n") for heading in rows[0]], *rows[1:]]
        self.say(kind.title)
        anything = self.console.options.update(width=10_000)
        for table in map(_framed, (rows, high)):
            if Measurement.get(self.console, anything, table).maximum <= self.console.width:
                self.console.print(table)
                break
        else:
            self.say(fitted(rows, self.console.width))
        if len(rows) > 1 + len(tasks) and kind.caption:
            self.say(kind.caption)

    def begin(self, step: int) -> None:
        """Show that the run begins, or goes on, after a step."""
        if self.bar is not None:
            self.bar.update(self.bar.row, completed=step)
            self.bar.start()

    def close(self) -> None:
        """Leave the bar as it stands."""
        if self.bar is not None:
            self.bar.stop()


class _Bar(Progress):
    """A bar with speed and time left, and below it the losses of all tasks."""

    def __init__(self, console: Console, steps: int) -> None:
        self.losses = ""
        columns = (
            TextColumn("step {task.completed}/{task.total}"),
            BarColumn(bar_width=24),
            TextColumn("{task.description}"),
        )
        super().__init__(*columns, console=console)
        self.row = self.add_task("compiling ...", total=steps)

    def get_renderables(self) -> Iterable[RenderableType]:
        """Yield what rich draws: the bar, then the losses."""
        yield self.make_tasks_table(self.tasks)
        if self.losses:
            yield Text(f"loss {self.losses}")

    def show(self, step: int, speed: str, losses: str) -> None:
        """Move the bar and change the texts."""
        self.losses = losses
        self.update(self.row, completed=step, description=speed)


def _framed(rows: Sequence[Sequence[str]]) -> Table:
    table = Table()
    for number, heading in enumerate(rows[0]):
        table.add_column(heading, justify="right" if number else "left")
    for row in rows[1:]:
        table.add_row(*map(escape, row))
    return table


def _rows(kind: TaskKind, tasks: Mapping[str, Mapping[str, Any]]) -> list[list[str]]:
    """Return headings and cells of all tasks of a kind, those of a reference below its task's."""
    rows = [["task", *(column.heading for column in kind.table)]]
    for name, splits in tasks.items():
        rows.append([name, *(column.text(splits[column.split]) for column in kind.table)])
        reference = kind.reference
        if reference is not None and splits["test"][reference]:
            of_splits = {split: splits[split][reference] for split in ("val", "test")}
            cells = (c.text_of_reference(of_splits[c.split]) for c in kind.table)
            rows.append([f"  {reference}", *cells])
    return rows


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"

"""What the user sees while a run goes on: a progress bar, or plain lines without a terminal."""

import sys
from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from train.tasks.registry import KINDS, TaskKind, kind_of, percent


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
            width=None if terminal else 120,
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
                self.console.print(_table(what, tasks))
        self.say(
            f"{summary['images_seen']:,} images in {_duration(summary['wall_seconds'])} on "
            f"{summary['world_size']} rank(s), {summary['images_per_second']:,.0f} images/s"
        )
        self.say(f"Run folder: {run_dir}")

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
        self.start()

    def get_renderables(self) -> Iterable[RenderableType]:
        """Yield what rich draws: the bar, then the losses."""
        yield self.make_tasks_table(self.tasks)
        if self.losses:
            yield Text(f"loss {self.losses}")

    def show(self, step: int, speed: str, losses: str) -> None:
        """Move the bar and change the texts."""
        self.losses = losses
        self.update(self.row, completed=step, description=speed)


def _table(kind: TaskKind, tasks: Mapping[str, Mapping[str, Any]]) -> Table:
    """Return the table of all tasks of a kind, those of a reference below the network's."""
    table = Table(title=kind.title, title_justify="left")
    if kind.caption is not None:
        table.caption, table.caption_justify = kind.caption, "left"
    table.add_column("task")
    for column in kind.table:
        table.add_column(column.heading, justify="right")
    for name, splits in tasks.items():
        table.add_row(name, *(column.text(splits[column.split]) for column in kind.table))
        reference = kind.reference
        if reference is not None and splits["test"][reference]:
            of_splits = {split: splits[split][reference] for split in ("val", "test")}
            cells = (c.text_of_reference(of_splits[c.split]) for c in kind.table)
            table.add_row(f"  {reference}", *cells)
    return table


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"

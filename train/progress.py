"""What the user sees while a run goes on: a progress bar, or plain lines without a terminal."""

import sys
from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

_PLAIN_WIDTH = 120


class Display:
    """Shows the run on standard output.

    Args:
        steps: Length of the run.
        shown: Whether anything is shown at all.
        plain: Whether to show plain lines even where the output looks like a terminal.
    """

    def __init__(self, steps: int, shown: bool = True, plain: bool = False) -> None:
        terminal = sys.stdout.isatty() and shown and not plain
        self.console = Console(
            width=None if terminal else _PLAIN_WIDTH,
            force_terminal=terminal,
            highlight=False,
            quiet=not shown,
        )
        self.steps = steps
        self.bar = _Bar(self.console, steps) if terminal else None

    def say(self, text: str) -> None:
        """A line of text."""
        self.console.print(text, markup=False, soft_wrap=True)

    def update(
        self, step: int, losses: Mapping[str, float], images_per_second: float, seconds_left: float
    ) -> None:
        """State of the run after ``step`` steps."""
        loss = "  ".join(f"{task} {value:.3f}" for task, value in losses.items())
        rest = f"{images_per_second:,.0f} images/s  {_duration(seconds_left)} left"
        if self.bar is not None:
            self.bar.show(step, rest, loss)
        else:
            self.say(f"step {step}/{self.steps}  loss {loss}  {rest}")

    def metrics(self, title: str, tasks: Mapping[str, Mapping[str, Any]]) -> None:
        """One line with the accuracy of every task."""
        parts = [f"{name} {_percent(m['accuracy'], 1)}" for name, m in tasks.items()]
        self.say(f"{title}: accuracy {'  '.join(parts)}")

    def summary(self, summary: Mapping[str, Any], run_dir: str) -> None:
        """The table at the end of a run."""
        self.close()
        table = Table(title="Test accuracy", title_justify="left")
        table.add_column("task")
        for heading in ("images", "accuracy", "average accuracy", "kappa", "val accuracy"):
            table.add_column(heading, justify="right")
        for name, splits in summary["tasks"].items():
            test, val = splits["test"], splits["val"]
            table.add_row(
                name,
                f"{test['images']:,}",
                _percent(test["accuracy"]),
                _percent(test["average_accuracy"]),
                "-" if test["kappa"] is None else f"{test['kappa']:.3f}",
                _percent(val["accuracy"]),
            )
        self.console.print(table)
        self.say(
            f"{summary['images_seen']:,} images in {_duration(summary['wall_seconds'])} on "
            f"{summary['world_size']} rank(s), {summary['images_per_second']:,.0f} images/s"
        )
        self.say(f"Run folder: {run_dir}")

    def close(self) -> None:
        """Leaves the bar as it stands."""
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
        """What rich draws: the bar, then the losses."""
        yield self.make_tasks_table(self.tasks)
        if self.losses:
            yield Text(f"loss {self.losses}")

    def show(self, step: int, speed: str, losses: str) -> None:
        """Moves the bar and changes the texts."""
        self.losses = losses
        self.update(self.row, completed=step, description=speed)


def _percent(ratio: float | None, digits: int = 2) -> str:
    return "-" if ratio is None else f"{100 * ratio:.{digits}f} %"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"

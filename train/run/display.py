"""What the user sees while a run goes on: a progress bar, or plain lines without a terminal."""

import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

_PLAIN_WIDTH = 120

Values = Mapping[str, Any]


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
        """One line with the accuracy of every scene task and the mean IoU of the others."""
        scenes, segmentations = _by_kind(tasks, lambda metrics: metrics)
        parts = [
            f"{heading} "
            + "  ".join(f"{name} {_percent(m[key], 1)}" for name, m in of_kind.items())
            for heading, key, of_kind in (
                ("accuracy", "accuracy", scenes),
                ("mIoU", "mean_iou", segmentations),
            )
            if of_kind
        ]
        self.say(f"{title}: {'; '.join(parts)}")

    def summary(self, summary: Mapping[str, Any], run_dir: str) -> None:
        """The tables at the end of a run."""
        self.close()
        scenes, segmentations = _by_kind(summary["tasks"], lambda splits: splits["test"])
        if scenes:
            self.console.print(_scene_table(scenes))
        if segmentations:
            self.console.print(_segmentation_table(segmentations))
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


def _by_kind(
    tasks: Mapping[str, Values], metrics_of: Callable[[Values], Values]
) -> tuple[dict[str, Values], dict[str, Values]]:
    """The (scene, segmentation) tasks; the metrics of older runs do not tell: they are scene."""
    kinds = {name: metrics_of(values).get("kind", "scene") for name, values in tasks.items()}
    scenes = {name: values for name, values in tasks.items() if kinds[name] == "scene"}
    return scenes, {name: values for name, values in tasks.items() if name not in scenes}


def _scene_table(tasks: Mapping[str, Values]) -> Table:
    headings = ("images", "accuracy", "average accuracy", "kappa", "val accuracy")
    table = _table("Test accuracy", headings)
    for name, splits in tasks.items():
        test, val = splits["test"], splits["val"]
        table.add_row(
            name,
            f"{test['images']:,}",
            _percent(test["accuracy"]),
            _percent(test["average_accuracy"]),
            "-" if test["kappa"] is None else f"{test['kappa']:.3f}",
            _percent(val["accuracy"]),
        )
    return table


def _segmentation_table(tasks: Mapping[str, Values]) -> Table:
    """Below the network's figures those of the oracle, without which they say little."""
    headings = (
        "images",
        "pixel accuracy",
        "mIoU",
        "fwIoU",
        "multi-class\nimages",
        "their mIoU",
        "val mIoU",
    )
    table = _table("Test segmentation", headings)
    table.caption = "oracle: what painting every image with its true scene class would give"
    table.caption_justify = "left"
    for name, splits in tasks.items():
        test, val = splits["test"], splits["val"]
        multi = test["multi_class"]
        table.add_row(
            name,
            f"{test['images']:,}",
            _percent(test["pixel_accuracy"]),
            _percent(test["mean_iou"]),
            _percent(test["frequency_weighted_iou"]),
            f"{multi['images']:,}",
            _percent(multi["mean_iou"]),
            _percent(val["mean_iou"]),
        )
        if test["oracle"]:
            table.add_row("  oracle", *_oracle_cells(test["oracle"], val["oracle"]))
    return table


def _oracle_cells(test: Values, val: Values) -> list[str]:
    ratios = (test["pixel_accuracy"], test["mean_iou"])
    multi_class = test["multi_class"]["mean_iou"]
    return ["", *map(_percent, ratios), "", "", _percent(multi_class), _percent(val["mean_iou"])]


def _table(title: str, headings: Iterable[str]) -> Table:
    """An empty table of tasks."""
    table = Table(title=title, title_justify="left")
    table.add_column("task")
    for heading in headings:
        table.add_column(heading, justify="right")
    return table


def _percent(ratio: float | None, digits: int = 2) -> str:
    return "-" if ratio is None else f"{100 * ratio:.{digits}f} %"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"

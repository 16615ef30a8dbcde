"""The section of a report with the curves of training and validation."""

from collections.abc import Callable, Iterator, Sequence

from tools.report.charts import COLOURS, Series, chart
from tools.report.runs import RunRecord
from train.tasks.registry import KINDS

# With more tasks, the lines of one chart cannot be told apart.
_MOST_LINES = COLOURS
# Of the axes of metrics in 0..1.
_SPAN, _SHARES = 0.1, (0.0, 1.0)


def _plain(value: float) -> str:
    return f"{value:,.4g}"


def _short_percent(value: float) -> str:
    return f"{100 * value:.4g} %"


# What the charts of whole runs show: titles, keys of metrics.jsonl.
_OF_RUNS: tuple[tuple[str, str, Callable[[float], str]], ...] = (
    ("Learning rate", "learning_rate", _plain),
    ("Images/s, all ranks", "images_per_second", _plain),
    ("Time spent waiting for data", "data_wait", _short_percent),
    ("Time lost to checkpoints", "saving", _short_percent),
    ("Norm of the gradient", "gradient_norm", _plain),
    ("Loss scale", "loss_scale", _plain),
)


def section(runs: Sequence[RunRecord]) -> str:
    """Return all charts: of one run the tasks together, of several the runs of each task."""
    charts = [*_of_tasks(runs), *_of_runs(runs)]
    return f'<div class="charts">{"".join(charts)}</div>'


def _of_tasks(runs: Sequence[RunRecord]) -> Iterator[str]:
    tasks = list(dict.fromkeys(task for run in runs for task in run.tasks))
    if len(runs) == 1 and len(tasks) <= _MOST_LINES:
        [run] = runs
        yield chart("Loss on train", [_loss(run, t, t, i) for i, t in enumerate(tasks)], _plain)
        for kind, what in KINDS.items():
            own = [(i, t) for i, t in enumerate(tasks) if run.kind(t) == kind]
            lines = [Series(t, run.validation(t), i, marked=True) for i, t in own]
            yield chart(
                f"{_capital(what.main.heading)} on val", lines, _short_percent, _SPAN, _SHARES
            )
        weights = [_weight(run, t, t, i) for i, t in enumerate(tasks)]
        yield chart("Weights of the losses", weights, _plain)
        return
    for task in tasks:
        with_it = [(i, run) for i, run in enumerate(runs) if task in run.tasks]
        yield chart(
            f"{task}: loss on train", [_loss(r, task, r.name, i) for i, r in with_it], _plain
        )
        main = KINDS[with_it[0][1].kind(task)].main.heading
        lines = [Series(r.name, r.validation(task), i, marked=True) for i, r in with_it]
        yield chart(f"{task}: {main} on val", lines, _short_percent, _SPAN, _SHARES)
        weights = [_weight(r, task, r.name, i) for i, r in with_it]
        if any(len({y for _, y in line.points}) > 1 for line in weights):
            yield chart(f"{task}: weight of the loss", weights, _plain)


def _of_runs(runs: Sequence[RunRecord]) -> Iterator[str]:
    for title, key, form in _OF_RUNS:
        lines = [Series(r.name, r.curve(key), i) for i, r in enumerate(runs)]
        # Checkpoints that cost nothing are no news.
        if key != "saving" or any(y for line in lines for _, y in line.points):
            yield chart(title, lines, form)


def _loss(run: RunRecord, task: str, name: str, colour: int) -> Series:
    return Series(name, run.curve("tasks", task, "loss"), colour)


def _weight(run: RunRecord, task: str, name: str, colour: int) -> Series:
    return Series(name, run.curve("tasks", task, "weight"), colour)


def _capital(words: str) -> str:
    return words[0].upper() + words[1:] if words.islower() else words

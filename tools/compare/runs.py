"""Completed runs, read from the summaries in their folders."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from train.config.yaml_text import read_yaml
from train.errors import UserError
from train.files import read_json
from train.tasks.registry import KINDS, Figure, kind_of

SUMMARY = "summary.json"


class Column(NamedTuple):
    """What is compared: a task, and of what kind it is."""

    task: str
    kind: str

    @property
    def heading(self) -> str:
        """The task with the name of its principal metric."""
        return f"{self.task} {KINDS[self.kind].main.heading}"


@dataclass(frozen=True)
class Run:
    """One completed run.

    Attributes:
        path: Its summary.json.
        name: Of its folder.
        metrics: The metrics of every task, on one split.
        parameters: Trained values.
        images: Images trained.
        ranks: Processes that trained it.
        config: Its config.yaml; None if there is none that can be read.
    """

    path: Path
    name: str
    metrics: dict[Column, dict[str, Any]]
    parameters: int
    images: int
    ranks: int
    config: dict[str, Any] | None

    def figure(self, column: Column, figure: Figure | None = None) -> float | None:
        """Return a figure of a task; None if it is not known, or there was nothing to count.

        Args:
            column: The task.
            figure: The figure; by default the one that stands for a task, 0..1.
        """
        value = (figure or KINDS[column.kind].main).of(self.metrics[column])
        return None if value is None else float(value)

    @property
    def description(self) -> str:
        """What distinguishes it, as far as its configuration tells."""
        ranks = "1 rank" if self.ranks == 1 else f"{self.ranks} ranks"
        config = self.config or {}
        model = config.get("model")
        if not isinstance(model, Mapping):
            return ranks
        wide = model.get("trunk", "wide_resnet") == "wide_resnet"
        trunk = f"WRN-{model.get('depth')}-{model.get('width')}" if wide else model["trunk"]
        if model.get("max_pool") == "symmetric":
            trunk += " with PyTorch's max-pool"
        parts = [model.get("branch", "attention"), trunk, f"{model.get('norm')} norm"]
        if self.ranks > 1:
            ranks += f" {config.get('branches')}"
        return ", ".join([*parts, ranks])


def read_runs(paths: Sequence[Path], split: str) -> list[Run]:
    """Read runs; one that is given twice counts once.

    Args:
        paths: Run folders, or their summaries.
        split: "val" or "test".

    Raises:
        UserError: There is no summary, or something else instead.
    """
    summaries = {_summary_of(path).resolve(): path for path in paths}
    runs = [_read(_summary_of(path), split) for path in summaries.values()]
    names = [run.name for run in runs]
    # Folders of the same name are told apart by their paths.
    return [
        replace(run, name=str(run.path.parent)) if names.count(run.name) > 1 else run
        for run in runs
    ]


def _summary_of(path: Path) -> Path:
    return path if path.name == SUMMARY else path / SUMMARY


def _read(path: Path, split: str) -> Run:
    if not path.parent.is_dir():
        raise UserError(f"{path.parent}: there is no such folder")
    try:
        summary = read_json(path)
    except FileNotFoundError:
        raise UserError(f"{path.parent}: no {SUMMARY}: the run is not completed") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise UserError(f"{path}: not the summary of a run: {error}") from None
    try:
        return Run(
            path=path,
            name=path.parent.resolve().name,
            metrics={_column(t, m[split]): dict(m[split]) for t, m in summary["tasks"].items()},
            parameters=sum(summary["parameters"].values()),
            images=int(summary["images_seen"]),
            ranks=int(summary["world_size"]),
            config=_read_config(path.parent / "config.yaml"),
        )
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        problem = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise UserError(f"{path}: not the summary of a run: {problem}") from None


def _column(task: str, metrics: Mapping[str, Any]) -> Column:
    kind = kind_of(metrics)
    if kind not in KINDS:
        raise ValueError(f"task {task} is of kind {kind!r}, not {' or '.join(KINDS)}")
    if (main := KINDS[kind].main.path[0]) not in metrics:
        raise KeyError(main)
    return Column(task, kind)


def _read_config(path: Path) -> dict[str, Any] | None:
    try:
        return read_yaml(path)
    except UserError:
        return None

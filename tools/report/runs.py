"""The runs of a report: what is in their folders, without the network."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from train.config.yaml_text import read_yaml
from train.errors import UserError
from train.files import parse_json, read_json
from train.storage.digests import SUMMARY
from train.storage.run_download import CONFIG, METRICS
from train.tasks.registry import KINDS, kind_of

Values = dict[str, Any]
Points = list[tuple[float, float]]
# Of several runs in one report.
MOST_RUNS = 8


@dataclass(frozen=True)
class RunRecord:
    """One run, completed or not.

    Attributes:
        name: What it is called here.
        folder: Its folder on this disk.
        config: Its config.yaml, as plain values.
        lines: Of metrics.jsonl; damaged ones are left out.
        summary: Its summary.json; None for a run that is not completed.
    """

    name: str
    folder: Path
    config: Values
    lines: list[Values] = field(repr=False)
    summary: Values | None = field(repr=False)

    @classmethod
    def read(cls, folder: Path, place: str) -> RunRecord:
        """Read a run folder.

        Args:
            folder: Where it is on this disk.
            place: What the user has called it.

        Raises:
            UserError: It is no run folder, or its summary cannot be read.
        """
        config, metrics = folder / CONFIG, folder / METRICS
        if not config.is_file():
            raise UserError(f"{place}: no {CONFIG} in it (a run folder is needed)")
        summary = None
        if (path := folder / SUMMARY).exists():
            try:
                summary = dict(read_json(path))
            except (OSError, ValueError, TypeError) as error:
                raise UserError(f"{place}: {SUMMARY}: cannot be read: {error}") from None
        lines = list(parsed_lines(metrics.read_bytes())) if metrics.exists() else []
        if summary is None and not lines:
            raise UserError(f"{place}: nothing to report yet: neither {METRICS} nor {SUMMARY}")
        name = place.rstrip("/").rpartition("/")[2] or folder.resolve().name
        return cls(name, folder, read_yaml(config), lines, summary)

    @property
    def step(self) -> int:
        """Steps done."""
        return int((self.summary or self.lines[-1])["step"])

    @property
    def steps(self) -> int:
        """Steps of the whole schedule."""
        return int(self.config["schedule"]["steps"])

    @property
    def tasks(self) -> list[str]:
        """Names of its tasks."""
        return list(self.config["tasks"])

    def kind(self, task: str) -> str:
        """Return the kind of a task."""
        return kind_of(self.config["tasks"][task] or {})

    def metrics(self, task: str, split: str) -> Values | None:
        """Return what summary.json says of a task on a split; None if it does not."""
        found = (self.summary or {}).get("tasks", {}).get(task, {}).get(split)
        return None if found is None else dict(found)

    def of_kind(self, kind: str) -> list[Values]:
        """Return the lines of a kind."""
        return [line for line in self.lines if line.get("kind") == kind]

    def curve(self, *path: str) -> Points:
        """Return (step, value) of what a path of keys leads to in the lines of training."""
        return list(_points(self.of_kind("train"), path))

    def validation(self, task: str) -> Points:
        """Return (step, value) of the main metric of a task on val."""
        path = ("tasks", task, *KINDS[self.kind(task)].main.path)
        lines = [line for line in self.of_kind("evaluation") if line.get("split") == "val"]
        return list(_points(lines, path))


def parsed_lines(content: bytes) -> Iterator[Values]:
    """Yield the lines of a metrics.jsonl that are whole."""
    for line in content.splitlines():
        with contextlib.suppress(ValueError, KeyError, TypeError):
            values = dict(parse_json(line))
            float(values["step"])
            yield values


def named_apart(runs: Sequence[RunRecord]) -> list[RunRecord]:
    """Return the runs, those of one name with numbers."""
    names = [run.name for run in runs]
    return [
        RunRecord(f"{r.name} ({i + 1})", r.folder, r.config, r.lines, r.summary)
        if names.count(r.name) > 1
        else r
        for i, r in enumerate(runs)
    ]


def _points(lines: Sequence[Values], path: Sequence[str]) -> Iterator[tuple[float, float]]:
    for line in lines:
        value: Any = line
        for key in path:
            value = value.get(key) if isinstance(value, dict) else None
        if isinstance(value, (int, float)):
            yield float(line["step"]), float(value)

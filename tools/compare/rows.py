"""Runs that belong together as rows, and their gain over the single-task runs."""

import json
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from tools.compare.runs import Column, Run
from train.tasks.registry import Figure

# What may differ between the runs of one row.
_FREE_KEYS = ("seed", "run_dir")


@dataclass(frozen=True)
class Value:
    """Mean of some numbers and, if there are several, their standard deviation (n - 1)."""

    mean: float
    deviation: float | None
    count: int

    @classmethod
    def of(cls, numbers: Iterable[float | None]) -> "Value | None":
        """Summarize numbers; None if there is none."""
        known = [number for number in numbers if number is not None]
        if not known:
            return None
        deviation = statistics.stdev(known) if len(known) > 1 else None
        return cls(statistics.fmean(known), deviation, len(known))


@dataclass(frozen=True)
class Row:
    """Runs of one configuration that differ in the seed, or all single-task runs.

    Attributes:
        name: Of the row.
        runs: What is in it.
        single: Whether they are the single-task runs, each of one of the row's tasks.
    """

    name: str
    runs: list[Run]
    single: bool

    @property
    def columns(self) -> list[Column]:
        """The tasks, in the order of the runs."""
        return list(dict.fromkeys(column for run in self.runs for column in run.metrics))

    def runs_of(self, column: Column) -> list[Run]:
        """Return the runs that have a task."""
        return [run for run in self.runs if column in run.metrics]

    def figure(self, column: Column, figure: Figure | None = None) -> Value | None:
        """Return a figure of a task as :meth:`Run.figure` does; None if no run has it."""
        return Value.of(run.figure(column, figure) for run in self.runs_of(column))

    def mean(self, columns: Sequence[Column]) -> Value | None:
        """Return the mean over the tasks; None if one is missing, as no other mean compares."""
        values = [value for column in columns if (value := self.figure(column)) is not None]
        if len(values) < len(columns):
            return None
        if self.single:
            return Value.of([statistics.fmean(value.mean for value in values)])
        return Value.of(
            statistics.fmean(v for c in columns if (v := run.figure(c)) is not None)
            for run in self.runs
        )

    @property
    def description(self) -> str:
        """What distinguishes the runs."""
        found = {run.description for run in self.runs}
        return found.pop() if len(found) == 1 else "various"

    def total(self, attribute: Literal["parameters", "images"]) -> float:
        """Return that of one run, or of a single-task run for every task together."""
        groups = [self.runs_of(column) for column in self.columns] if self.single else [self.runs]
        return sum(statistics.fmean(getattr(run, attribute) for run in runs) for runs in groups)


class Gain(NamedTuple):
    """Average relative improvement, as a fraction, over those tasks that have a single-task run."""

    value: float
    columns: list[Column]


@dataclass(frozen=True)
class Comparison:
    """All rows, the single-task runs first, and all tasks."""

    rows: list[Row]
    columns: list[Column]

    @classmethod
    def of(cls, runs: Sequence[Run]) -> "Comparison":
        """Join runs that belong together."""
        single = [run for run in runs if len(run.metrics) == 1]
        count = f"{len(single)} run{'' if len(single) == 1 else 's'}"
        rows = [Row(f"single-task ({count})", single, single=True)] if single else []
        groups: dict[str, list[Run]] = {}
        for run in runs:
            if len(run.metrics) > 1:
                groups.setdefault(_group(run, groups), []).append(run)
        rows += [Row(_name(members), members, single=False) for members in groups.values()]
        columns = dict.fromkeys(column for run in runs for column in run.metrics)
        several = [column for row in rows if not row.single for column in row.columns]
        # In the order of the multi-task runs: single-task runs come in any.
        return cls(rows, list(dict.fromkeys([*several, *columns])))

    def gain(self, row: Row) -> Gain | None:
        """Return the gain of a row, None if no task has a single-task run.

        It is eq. 4 of Vandenhende et al., Multi-task learning for dense prediction tasks, TPAMI
        2022; larger is better for all metrics here.
        """
        gains = {}
        first = self.rows[0]
        for column in row.columns:
            own, single = row.figure(column), first.figure(column) if first.single else None
            if own is not None and single is not None and single.mean > 0:
                gains[column] = (own.mean - single.mean) / single.mean
        return Gain(statistics.fmean(gains.values()), list(gains)) if gains else None

    def mixed_singles(self) -> dict[Column, list[str]]:
        """Return tasks whose single-task runs differ in more than the seed, with those keys."""
        row, found = self.rows[0], {}
        for column in row.columns if row.single else []:
            flat = [_flat(run.config) for run in row.runs_of(column) if run.config]
            keys = dict.fromkeys(key for settings in flat for key in settings)
            differing = [k for k in keys if any(s.get(k) != flat[0].get(k) for s in flat)]
            if differing:
                found[column] = differing
        return found


def _name(members: Sequence[Run]) -> str:
    first = members[0].name
    return first if len(members) == 1 else f"{first} ({len(members)} seeds)"


def _group(run: Run, groups: dict[str, list[Run]]) -> str:
    """Return the key of a run's row: one of its own, unless it is a new seed of that row."""
    if run.config is None:
        return str(run.path)
    key = json.dumps([_flat(run.config), run.ranks], sort_keys=True, default=str)
    seeds = [member.config.get("seed") for member in groups.get(key, []) if member.config]
    return str(run.path) if run.config.get("seed") in seeds else key


def _flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return the settings by their whole names, without those that may differ."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            flat.update(_flat(value, f"{prefix}{key}."))
        elif f"{prefix}{key}" not in _FREE_KEYS:
            flat[f"{prefix}{key}"] = value
    return flat

"""What was measured, and the ratios that follow from it: medians of rounds, pair by pair."""

from __future__ import annotations

import operator
import statistics
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Form = Literal["ratio", "percent", "value"]

_OPERATORS: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    ">": operator.gt,
    "<=": operator.le,
    "<": operator.lt,
}


@dataclass(frozen=True)
class Goal:
    """What a ratio should be.

    Attributes:
        sign: ``>=``, ``>``, ``<=`` or ``<``.
        bound: The number to the right of the sign.
    """

    sign: str
    bound: float

    def is_reached(self, value: float) -> bool:
        """Whether a median reaches it."""
        return _OPERATORS[self.sign](value, self.bound)


@dataclass(frozen=True)
class Spread:
    """Median, smallest and largest of the rounds."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: list[float]) -> Spread:
        """Of at least one value."""
        return cls(statistics.median(values), min(values), max(values))


@dataclass(frozen=True)
class Comparison:
    """A ratio of two series of a case, or one series for itself.

    Attributes:
        what: What the table calls it.
        of: The series that is looked at.
        to: What it is divided by, round by round; None: by nothing.
        goal: What it should be, if there is such a goal.
        form: How the table shows it.
        factor: Every ratio is multiplied by it.
    """

    what: str
    of: str
    to: str | None = None
    goal: Goal | None = None
    form: Form = "ratio"
    factor: float = 1.0

    def values(self, series: dict[str, list[float]]) -> list[float]:
        """The ratio of every round; nothing where one of the series was not measured."""
        own = series.get(self.of, [])
        if self.to is None:
            return [self.factor * value for value in own]
        other = series.get(self.to, [])
        if not own or not other:
            return []
        return [self.factor * a / b for a, b in zip(own, other, strict=True)]


@dataclass
class Case:
    """One measurement of a row.

    Attributes:
        name: What was measured, in words.
        unit: Of the series.
        series: A value per round, by name. Values of one round belong together.
        comparisons: What follows.
        missing: Series that could not be measured, and why.
        facts: What else is worth keeping; plain values.
    """

    name: str
    unit: str
    series: dict[str, list[float]] = field(default_factory=dict)
    comparisons: list[Comparison] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)

    def tree(self) -> dict[str, Any]:
        """Plain values for JSON, with what is computed from the rounds."""
        compared = []
        for comparison in self.comparisons:
            values = comparison.values(self.series)
            result = asdict(Spread.of(values)) if values else None
            compared.append({**asdict(comparison), "rounds": values, "result": result})
        return {
            "name": self.name,
            "unit": self.unit,
            "series": self.series,
            "medians": {k: Spread.of(v).median for k, v in self.series.items()},
            "comparisons": compared,
            "missing": self.missing,
            "facts": self.facts,
        }

    @classmethod
    def of_tree(cls, tree: dict[str, Any]) -> Case:
        """The inverse of :meth:`tree`; what is computed is computed again."""
        comparisons = [_comparison(c) for c in tree["comparisons"]]
        return cls(
            tree["name"],
            tree["unit"],
            tree["series"],
            comparisons,
            tree["missing"],
            tree["facts"],
        )


def _comparison(tree: dict[str, Any]) -> Comparison:
    goal = None if tree["goal"] is None else Goal(**tree["goal"])
    keys = ("what", "of", "to", "form", "factor")
    return Comparison(**{key: tree[key] for key in keys}, goal=goal)

"""What was measured, on what, the ratios that follow round by round, and the file that holds it."""

import datetime
import json
import operator
import os
import platform
import re
import statistics
import subprocess
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter

from tools.bench.group import ROOT
from tools.bench.rows import ROWS
from tools.common.command_line import refused
from train.errors import UserError
from train.files import read_json

Form = Literal["ratio", "percent", "value"]

_FORMAT = {"format": "mtln-bench", "version": 1}
_OPERATORS = {">=": operator.ge, ">": operator.gt, "<=": operator.le, "<": operator.lt}
# Of the processor's abilities, those that the kernels of convolutions are chosen by.
_ABILITIES = ("avx", "fma", "sse4_2", "asimd", "sve", "bf16", "amx")


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
        """Return whether a median reaches it."""
        return bool(_OPERATORS[self.sign](value, self.bound))


@dataclass(frozen=True)
class Spread:
    """Median, smallest and largest of the rounds."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: list[float]) -> "Spread":
        """Return that of at least one value."""
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
        """Return the ratio of every round; nothing where one of the series was not measured."""
        own = series.get(self.of, [])
        other = [1.0] * len(own) if self.to is None else series.get(self.to, [])
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
        """Return plain values for JSON, with what is computed from the rounds."""
        compared = []
        for comparison in self.comparisons:
            values = comparison.values(self.series)
            result = asdict(Spread.of(values)) if values else None
            compared.append({**asdict(comparison), "rounds": values, "result": result})
        medians = {name: Spread.of(values).median for name, values in self.series.items()}
        return {**vars(self), "medians": medians, "comparisons": compared}


@dataclass
class Measured:
    """One row of the table as it was measured.

    Attributes:
        title: What the table calls it.
        cases: What was measured.
        failure: Why it ended before its end, if it did.
        settings: Rounds, seconds of a turn, whether sizes were tiny.
        moment: When, under which load, of which commit.
    """

    title: str
    cases: list[Case] = field(default_factory=list)
    failure: str | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    moment: dict[str, Any] = field(default_factory=dict)


def describe_machine() -> dict[str, Any]:
    """Return plain values: the machine and the software."""
    flags = (_about_processor("flags") or _about_processor("Features")).split()
    return {
        "processor": _about_processor("model name") or platform.processor() or platform.machine(),
        "architecture": platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "abilities": [flag for flag in flags if flag.startswith(_ABILITIES)],
        "memory_gb": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9, 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in ("mindspore", "numpy", "mpi4py", "pillow")},
        "mpirun": _first_line(["mpirun", "--version"]),
    }


def moment() -> dict[str, Any]:
    """Return plain values that change: time, load, commit."""
    changed = _first_line(["git", "status", "--porcelain", "--untracked-files=no"])
    return {
        "when": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "load": [round(value, 2) for value in os.getloadavg()],
        "commit": _first_line(["git", "rev-parse", "HEAD"]),
        "uncommitted_changes": bool(changed),
    }


def _about_processor(key: str) -> str:
    """Return what Linux says of the first core under a key; "" if nothing."""
    found = re.search(rf"^{key}\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return found[1] if found else ""


def _first_line(command: list[str]) -> str | None:
    """Return what a command prints first; None if it cannot be run."""
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return next(iter(done.stdout.splitlines()), None)


@dataclass
class Document:
    """All rows, and the machine they were measured on."""

    rows: dict[str, Measured] = field(default_factory=dict)
    machine: dict[str, Any] = field(default_factory=describe_machine)

    @property
    def failures(self) -> list[str]:
        """One line for every row that ended before its end."""
        return [f"{name}: {row.failure}" for name, row in self.rows.items() if row.failure]

    def in_order(self) -> dict[str, Measured]:
        """Return the rows in the order of the table."""
        return {name: self.rows[name] for name in ROWS if name in self.rows}

    def write(self, path: Path) -> None:
        """Write it as JSON.

        Raises:
            UserError: It cannot be written.
        """
        rows = {
            name: {**vars(row), "cases": [case.tree() for case in row.cases]}
            for name, row in self.in_order().items()
        }
        tree = {**_FORMAT, "machine": self.machine, "rows": rows}
        with refused(path, "cannot be written"):
            path.write_text(json.dumps(tree, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> "Document":
        """Read what :meth:`write` has written; what is computed is computed again.

        Raises:
            UserError: It cannot be read, or is something else.
        """
        try:
            with refused(path, "cannot be read"):
                tree = read_json(path)
        except ValueError as error:
            raise UserError(f"{path}: not valid JSON: {error}") from None
        if not isinstance(tree, dict) or not _FORMAT.items() <= tree.items():
            raise UserError(f"{path}: not a file that tools bench --json has written")
        return TypeAdapter(cls).validate_python(tree)

"""The file that holds everything that was measured."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tools.bench import machine
from tools.bench.cases import Case
from tools.bench.rows import NAMES
from train.errors import UserError

FORMAT = "mtln-bench"
VERSION = 1


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


@dataclass
class Document:
    """All rows, and the machine they were measured on."""

    rows: dict[str, Measured] = field(default_factory=dict)
    machine: dict[str, Any] = field(default_factory=machine.describe)

    @property
    def failures(self) -> list[str]:
        """One line for every row that ended before its end."""
        return [f"{name}: {row.failure}" for name, row in self.rows.items() if row.failure]

    def in_order(self) -> dict[str, Measured]:
        """The rows in the order of the table."""
        return {name: self.rows[name] for name in NAMES if name in self.rows}

    def write(self, path: Path) -> None:
        """Writes it as JSON.

        Raises:
            UserError: It cannot be written.
        """
        rows = {
            name: {**vars(row), "cases": [case.tree() for case in row.cases]}
            for name, row in self.in_order().items()
        }
        tree = {"format": FORMAT, "version": VERSION, "machine": self.machine, "rows": rows}
        try:
            path.write_text(json.dumps(tree, indent=1) + "\n", encoding="utf-8")
        except OSError as error:
            raise UserError(f"{path}: cannot be written: {error.strerror}") from None

    @classmethod
    def read(cls, path: Path) -> Document:
        """Reads what :meth:`write` has written.

        Raises:
            UserError: It cannot be read, or is something else.
        """
        try:
            tree = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise UserError(f"{path}: cannot be read: {error.strerror}") from None
        except ValueError as error:
            raise UserError(f"{path}: not valid JSON: {error}") from None
        if not isinstance(tree, dict) or (tree.get("format"), tree.get("version")) != (
            FORMAT,
            VERSION,
        ):
            raise UserError(f"{path}: not a file that tools bench --json has written")
        rows = {
            name: Measured(**{**row, "cases": [Case.of_tree(case) for case in row["cases"]]})
            for name, row in tree["rows"].items()
        }
        return cls(rows, tree["machine"])

"""The rows of the table, a module each.

A row has a TITLE and ``measure(session)``, which yields its cases. To add one: write its module and
name it here.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Protocol, cast

from tools.bench.cases import Case
from tools.bench.session import Session

NAMES = (
    *("train", "reference", "scaling", "reduction", "input"),
    *("tasks", "start", "evaluation", "memory"),
)


class Row(Protocol):
    """What a row's module has.

    Attributes:
        TITLE: What the table calls it.
    """

    TITLE: str

    def measure(self, session: Session) -> Iterator[Case]:
        """Measures its cases, one after the other."""


def row(name: str) -> Row:
    """The module of a row."""
    return cast(Row, importlib.import_module(f"tools.bench.rows.{name}"))

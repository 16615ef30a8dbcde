"""Known messages in the logs of a failed job, and what to do about them (``hints.yaml``)."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

# More would bury the first, which is the likeliest to be the cause.
_MOST = 3
# Everything that is known stands at the beginning of its line; some lines hold whole tensors.
_LONGEST = 2000


@dataclass(frozen=True)
class Hint:
    """What is known about a line of a log.

    Attributes:
        id: name of the row of the table.
        meaning: what has happened.
        remedy: what to do.
        line: the line.
    """

    id: str
    meaning: str
    remedy: str
    line: str


@dataclass(frozen=True)
class Row:
    """A row of the table; the fields are explained in ``hints.yaml``."""

    id: str
    pattern: re.Pattern[str]
    meaning: str
    remedy: str
    sample: str


def hints_for(lines: Iterable[str]) -> list[Hint]:
    """Returns what is known about the lines of a log, in their order, every row once."""
    found: dict[str, Hint] = {}
    for line in lines:
        row = _row_for(line[:_LONGEST])
        if row is not None and row.id not in found:
            found[row.id] = Hint(row.id, row.meaning, row.remedy, line)
            if len(found) == _MOST:
                break
    return list(found.values())


@cache
def table() -> tuple[Row, ...]:
    """Returns all rows in their order."""
    import yaml  # only a job that has failed pays for it

    text = Path(__file__).with_name("hints.yaml").read_text(encoding="utf-8")
    return tuple(
        Row(**{**row, "pattern": re.compile(row["pattern"])}) for row in yaml.safe_load(text)
    )


def markdown_table() -> str:
    """Returns the table for the documentation."""
    lines = ["| message | what it means | what to do |", "|---|---|---|"]
    for row in table():
        shown = row.pattern.search(row.sample)
        assert shown is not None, row.id
        lines.append(f"| `{shown.group()}` | {row.meaning} | {row.remedy} |")
    return "\n".join(lines)


def _row_for(line: str) -> Row | None:
    return next((row for row in table() if row.pattern.search(line)), None)

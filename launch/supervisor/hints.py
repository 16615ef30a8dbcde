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
class Row:
    """A row of the table; the fields are explained in ``hints.yaml``."""

    id: str
    pattern: re.Pattern[str]
    meaning: str
    remedy: str
    sample: str


def hints_for(lines: Iterable[str]) -> list[Row]:
    """Return what is known about the lines of a log, in their order, every row once."""
    found: dict[str, Row] = {}
    for line in lines:
        row = next((row for row in table() if row.pattern.search(line[:_LONGEST])), None)
        if row is not None:
            found.setdefault(row.id, row)
            if len(found) == _MOST:
                break
    return list(found.values())


@cache
def table() -> tuple[Row, ...]:
    """Return all rows in their order."""
    import yaml  # only a job that has failed pays for it

    text = Path(__file__).with_name("hints.yaml").read_text(encoding="utf-8")
    return tuple(
        Row(**{**row, "pattern": re.compile(row["pattern"])}) for row in yaml.safe_load(text)
    )

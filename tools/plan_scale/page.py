"""The tables of docs/scale.md, each below a comment with the arguments that make it.

For instance ``<!-- plan-scale configs/mtln_wrn28_4.yaml --devices 8 -->``.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable

_TABLE = re.compile(r"^(<!-- plan-scale (.*) -->\n)((?:\|.*\n)*)", re.MULTILINE)


def tables(text: str) -> list[tuple[list[str], str]]:
    """The arguments and the rows of every such table of a page."""
    return [(shlex.split(words), rows) for _, words, rows in _TABLE.findall(text)]


def updated(text: str, make: Callable[[list[str]], str]) -> str:
    """The page with tables made anew, by a function from the arguments to the rows."""
    return _TABLE.sub(lambda found: f"{found[1]}{make(shlex.split(found[2]))}\n", text)

"""What a kind of fault is."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from tools.drill.disturbed_run import Run

Where = Literal["folder", "disk", "store"]


@dataclass(frozen=True)
class Kind:
    """A kind of fault.

    Attributes:
        key: How the command line calls it.
        title: How the table calls it.
        strike: Hits a run and checks what comes of it; returns what was left to chance. Raises
            NotSurvived.
        where: What place the run needs.
        is_last: Whether the run is at its end then.
    """

    key: str
    title: str
    strike: Callable[[Run], str]
    where: Where = "folder"
    is_last: bool = False

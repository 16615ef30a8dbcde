"""Where a rank can be held or harmed: what the drill and its ranks agree on.

An order is a file in a folder that both know. A rank looks at it whenever it comes to a phase.
"""

import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

FOLDER = "MTLN_DRILL"
# What a rank is about to do.
PHASES = (
    *("start", "join", "compile", "step", "consolidation", "evaluation", "checkpoint"),
    *("upload", "summary"),
)


@dataclass(frozen=True)
class Order:
    """What is to happen in a phase.

    Attributes:
        number: Tells it from the orders before.
        phase: The phase.
        rank: Whose.
        after: How often the rank comes there until it happens, counted from 1.
        action: ``hold``, or one of the harms of ``tools/drill/harm.py``.
        values: What the action needs to know.
    """

    number: int
    phase: str
    rank: int = 0
    after: int = 1
    action: str = "hold"
    values: tuple[Any, ...] = ()


def give(folder: Path, order: Order) -> None:
    """Give an order, in the place of the one before; whoever is held by that one goes on."""
    temporary = folder / ".order"
    temporary.write_text(json.dumps(asdict(order)))
    temporary.replace(folder / "order.json")


def current(folder: Path) -> Order:
    """Return the order that holds now."""
    tree = json.loads((folder / "order.json").read_text())
    return Order(**{**tree, "values": tuple(tree["values"])})


def note(folder: Path, order: Order, rank: int, **facts: Any) -> None:
    """Note that a rank has come to where the order is about, with what it found there."""
    temporary = folder / f".note-{order.number}-{rank}"
    moment = {"pid": os.getpid(), "time": time.monotonic()}
    temporary.write_text(json.dumps({**moment, **facts}))
    temporary.replace(_note(folder, order, rank))


def noted(folder: Path, order: Order, rank: int) -> dict[str, Any] | None:
    """Return what a rank has noted, None if it has not come there yet."""
    try:
        facts: dict[str, Any] = json.loads(_note(folder, order, rank).read_text())
    except FileNotFoundError:
        return None
    return facts


def _note(folder: Path, order: Order, rank: int) -> Path:
    return folder / f"note-{order.number}-{rank}.json"

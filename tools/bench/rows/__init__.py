"""The rows of the table: functions of the modules here that yield a row's cases.

To add one: write its function and name it here.
"""

import importlib
from collections.abc import Callable, Iterator
from typing import Any

# Name, which is that of the function: its module, and what the table calls it.
ROWS = {
    "train": ("against_others", "training, 2 ranks x 1 core"),
    "reference": ("against_others", "training against the reference script's schedule, 2 cores"),
    "scaling": ("ours", "weak scaling"),
    "reduction": ("ours", "time in the reduction, 2 ranks"),
    "input": ("data", "input pipeline on 1 core"),
    "checks": ("ours", "share of training that goes into checks, 2 ranks"),
    "saving": ("ours", "a checkpoint beside the training, 1 rank"),
    "tasks": ("ours", "cost of many tasks, 1 rank x 1 core"),
    "start": ("start", "command to first step, 2 ranks"),
    "evaluation": ("data", "evaluation against training, 2 ranks x 1 core"),
    "prediction": ("prediction", "answers of a trained network, 2 cores"),
    "memory": ("against_others", "memory per rank"),
}


def cases_of(name: str) -> Callable[[Any], Iterator[Any]]:
    """Return the function that measures a row: of a session, it yields one case after the other."""
    function: Callable[[Any], Iterator[Any]] = getattr(
        importlib.import_module(f"tools.bench.rows.{ROWS[name][0]}"), name
    )
    return function

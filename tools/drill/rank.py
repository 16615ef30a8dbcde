"""One rank of a training run, held or harmed from outside where the drill says.

It is ``python -m train``, with the functions that begin a phase wrapped.
"""

import functools
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from tools.drill import phases
from tools.drill.hooks import Change, run_changed
from tools.drill.phases import FOLDER, Order

_LOOK_EVERY = 0.005


class Drilled:
    """This rank, as the drill sees it.

    Args:
        folder: Where the orders are.
        rank: Number of this rank.
    """

    def __init__(self, folder: Path, rank: int) -> None:
        self._folder = folder
        self._rank = rank
        self._times: dict[int, int] = {}

    def reach(self, phase: str, step: int | None = None) -> Order | None:
        """Come to a phase after some steps; return an order to do harm there, if there is one."""
        order = phases.current(self._folder)
        if order.phase != phase or order.rank != self._rank:
            return None
        self._times[order.number] = self._times.get(order.number, 0) + 1
        if self._times[order.number] != order.after:
            return None
        if order.action != "hold":
            return order
        self.stay(order, step=step)
        return self.reach(phase, step)  # the next order may be about this very phase

    def stay(self, order: Order, **facts: Any) -> None:
        """Note that what was ordered has happened, and wait for the next order."""
        phases.note(self._folder, order, self._rank, **facts)
        while phases.current(self._folder).number == order.number:
            time.sleep(_LOOK_EVERY)

    def wrap(self, owner: Any, name: str, phase: str) -> None:
        """Have a function come to a phase whenever it begins."""
        function: Callable[..., Any] = getattr(owner, name)

        @functools.wraps(function)
        def wrapped(*arguments: Any, **named: Any) -> Any:
            heartbeat = getattr(arguments[0], "heartbeat", None)
            order = self.reach(phase, getattr(heartbeat, "step", None))
            if order is None:
                return function(*arguments, **named)
            from tools.drill import harm  # imports MindSpore, which the program has done by now

            result, facts = harm.DONE[order.action](order, function, arguments, named)
            self.stay(order, **facts)
            return result

        setattr(owner, name, wrapped)


def main() -> NoReturn:
    """Run the rank."""
    drilled = Drilled(Path(os.environ[FOLDER]), int(os.environ.get("RANK_ID", "0")))
    drilled.reach("start")
    wrap = drilled.wrap
    changes: dict[str, Change] = {
        # Between ranks of one machine, when the first has made what they share.
        "train.distributed.mindspore_engine": lambda module: wrap(
            module.MindSporeCollectives, "sum_counts", "join"
        ),
        "train.step.graph_cache": lambda module: wrap(module.GraphCache, "compiling", "compile"),
        "train.trainer": lambda module: wrap(module.Trainer, "_update", "step"),
        "train.step.consolidation": lambda module: wrap(
            module.Consolidator, "consolidate", "consolidation"
        ),
        "train.run.checkpoint": lambda module: wrap(module, "write_flushed", "checkpoint"),
        "train.storage.stores": lambda module: wrap(module.Bucket, "write", "upload"),
        "train.evaluation.evaluator": lambda module: wrap(
            module.Evaluator, "evaluate", "evaluation"
        ),
        "train.run.run_folder": lambda module: wrap(module.RunFolder, "write_summary", "summary"),
    }
    run_changed("train", changes)


if __name__ == "__main__":
    main()

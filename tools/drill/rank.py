"""One rank of a training run, held or harmed from outside where the drill says.

It is ``python -m train``, with the functions that begin a phase wrapped.
"""

import functools
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tools.drill import phases
from tools.drill.phases import ALL_RANKS, FOLDER, Order
from train.environment import prepare_for_mindspore
from train.process import health

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
        if order.phase != phase or order.rank not in (self._rank, ALL_RANKS):
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
        from tools.drill import harm

        function: Callable[..., Any] = getattr(owner, name)

        @functools.wraps(function)
        def wrapped(*arguments: Any, **named: Any) -> Any:
            heartbeat = getattr(arguments[0], "heartbeat", None)
            order = self.reach(phase, getattr(heartbeat, "step", None))
            if order is None:
                return function(*arguments, **named)
            result, facts = harm.DONE[order.action](order, function, arguments, named)
            self.stay(order, **facts)
            return result

        setattr(owner, name, wrapped)


def main() -> int:
    """Run the rank; return its exit code."""
    drilled = Drilled(Path(os.environ[FOLDER]), int(os.environ.get("RANK_ID", "0")))
    drilled.reach("start")
    prepare_for_mindspore()
    from train import __main__ as program
    from train.distributed import mindspore_engine
    from train.evaluation.evaluator import Evaluator
    from train.run import checkpoint
    from train.run.run_folder import RunFolder
    from train.step.consolidation import Consolidator
    from train.step.graph_cache import GraphCache
    from train.storage.stores import Bucket
    from train.trainer import Trainer

    # Between ranks of one machine, when the first has made what they share.
    drilled.wrap(mindspore_engine.MindSporeCollectives, "sum_counts", "join")
    drilled.wrap(GraphCache, "compiling", "compile")
    drilled.wrap(Trainer, "_update", "step")
    drilled.wrap(Consolidator, "consolidate", "consolidation")
    drilled.wrap(checkpoint, "write_flushed", "checkpoint")
    drilled.wrap(Bucket, "write", "upload")
    drilled.wrap(Evaluator, "evaluate", "evaluation")
    drilled.wrap(RunFolder, "write_summary", "summary")
    return program.main()


if __name__ == "__main__":
    health.explain_crashes()
    code = main()
    if code:
        health.leave(code)

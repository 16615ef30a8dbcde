"""One rank on a device, or on what stands for one: python -m tools.ascend_check.probe CONFIG OUT.

The trainer runs as it is, and what it does in some steps and evaluation batches is marked in the
log of the stand-in. What went wrong, and what only this process knows, is written to OUT.
"""

import ctypes
import json
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from train.environment import prepare_for_mindspore
from train.errors import UserError

# Which steps and batches are counted: from one call of the compiled cell to another. The first
# ones compile, and fill what is filled once.
FIRST_STEP, LAST_STEP = 2, 4
FIRST_BATCH, LAST_BATCH = 1, 2
STEPS = LAST_STEP + 1

# The library of the stand-in, where there is one.
LIBRARY = "MTLN_STAND_IN"

Mark = Callable[[str], None]


class Counted:
    """A compiled cell whose calls are marked.

    Attributes:
        calls: How often it was called.
    """

    def __init__(self, cell: Any, name: str, first: int, last: int, mark: Mark) -> None:
        self.cell, self.name, self.first, self.last, self.mark = cell, name, first, last, mark
        self.calls = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.cell, name)

    def __call__(self, *inputs: Any) -> Any:
        """Mark the call, and make it."""
        import mindspore as ms

        number = self.calls
        self.calls += 1
        if number == self.first:
            # What is launched may run behind what was called.
            ms.runtime.synchronize()
            self.mark(f"{self.name} begin")
        if number == self.last:
            self.mark(f"{self.name} end")
            ms.runtime.synchronize()
            self.mark(f"{self.name} drained")
        self.mark(f"{self.name} {number}")
        result = self.cell(*inputs)
        self.mark(f"{self.name} {number} done")
        return result


def main() -> None:
    """Run the probe; its arguments are those of the process."""
    config_file, out = map(Path, sys.argv[1:])
    prepare_for_mindspore()
    facts: dict[str, Any] = {"errors": {}}
    try:
        run(config_file, facts)
    except Exception:
        facts["errors"]["start"] = traceback.format_exc()
    out.write_text(json.dumps(facts))
    # The other ranks only look on: to leave them in good order would be to wait for them.
    sys.stdout.flush()
    os._exit(0)


def run(config_file: Path, facts: dict[str, Any]) -> None:
    """Train a few steps and evaluate, each even if the other one fails."""
    import mindspore as ms

    from train.config.reader import load_config
    from train.distributed import cluster
    from train.trainer import Trainer

    config = load_config(config_file)
    place = cluster.identify(os.environ, config.device)
    cluster.start(place)
    trainer: Any = Trainer(config, place)
    mark = _marker()
    step = Counted(trainer.train_step, "step", FIRST_STEP, LAST_STEP, mark)
    batch = Counted(trainer.evaluator.predict, "batch", FIRST_BATCH, LAST_BATCH, mark)
    trainer.train_step, trainer.evaluator.predict = step, batch
    trainer.replicas.require_equal = lambda *_: None  # the others only look on, and hold nothing
    trainer.diagnosis.of = lambda _: {}  # why a dry run gives no numbers is known
    try:
        trainer.run()
    except UserError:
        # A dry run gives no numbers, and the trainer finds that it makes no progress.
        if "MS_SIMULATION_LEVEL" not in os.environ or step.calls < STEPS:
            facts["errors"]["step"] = traceback.format_exc()
    except Exception:
        facts["errors"]["evaluation" if step.calls == STEPS else "step"] = traceback.format_exc()
    if not batch.calls:
        try:
            trainer.evaluator.evaluate("val")
        except Exception:
            facts["errors"]["evaluation"] = traceback.format_exc()
    facts["memory"] = int(ms.runtime.max_memory_allocated())


def _marker() -> Mark:
    if library := os.environ.get(LIBRARY):
        say = ctypes.CDLL(library).stand_in_mark
        return lambda text: say(text.encode())
    return lambda text: None


if __name__ == "__main__":
    main()

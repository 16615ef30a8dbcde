"""A rank that stands still, for a while or for good."""

import signal
import time

from tools.drill.disturbed_run import Run
from tools.drill.kinds.kind import Kind

_NO_PROGRESS = 124


def _for_a_while(run: Run) -> str:
    rank = run.rng.randint(0, run.last_rank)
    job = run.parked()
    run.hit()
    job.send(f"rank {rank}", signal.SIGSTOP)
    run.let_go()
    time.sleep(run.rng.uniform(0.5, 1.5))
    job.send(f"rank {rank}", signal.SIGCONT)
    run.goes_on()
    return f"rank {rank}"


def _for_good(run: Run) -> str:
    """The hang watch ends the job; it must leave a start as much time as that takes."""
    rank = run.rng.randint(0, run.last_rank)
    patience = max(4.0, 1.5 * run.start_seconds)
    job = run.parked(["--hang-timeout", f"{patience:.1f}"])
    run.hit()
    job.send(f"rank {rank}", signal.SIGSTOP)
    run.let_go()
    run.ends(_NO_PROGRESS, says="no rank made progress", is_clean=False)
    return f"rank {rank}"


KINDS = [
    Kind("stop-continue", "SIGSTOP, SIGCONT of a rank", _for_a_while),
    Kind("stop-for-good", "SIGSTOP that lasts", _for_good),
]

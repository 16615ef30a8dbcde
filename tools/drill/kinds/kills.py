"""kill -9 of any process in any phase."""

import signal
import time
from functools import partial

from tools.drill.disturbed_run import SIGKILL_CODE, Run
from tools.drill.job import NotSurvived
from tools.drill.kinds.kind import Kind
from train.step import graph_cache

# What one checkpoint consists of.
_FILES = 4


def _kill(run: Run, phase: str) -> str:
    """Kill a process when a rank has come to a phase; nothing that has been saved is lost."""
    victim = run.rng.choice(["launcher", "scheduler", "rank 0", f"rank {run.last_rank}"])
    before = run.newest()
    _come_to(run, phase, victim)
    return _hit(run, victim, before)


def _kill_at_random(run: Run) -> str:
    victim = run.rng.choice(["launcher", "scheduler", "rank 0", f"rank {run.last_rank}"])
    before = run.newest()
    run.let_go()
    job = run.start()
    job.wait(lambda: job.pid(victim) != 0, f"{victim} has not started")
    time.sleep(run.rng.uniform(0, 1.2 * run.start_seconds))
    return _hit(run, victim, before)


def _come_to(run: Run, phase: str, victim: str) -> None:
    own = int(victim.split()[1]) if victim.startswith("rank") else 0
    if phase == "compile":
        # Without kept graphs, as at the very first start.
        run.held(phase, {graph_cache.VARIABLE: "0"})
        run.let_go()
        time.sleep(run.rng.uniform(0, 1.5))
        return
    if phase in ("start", "join"):
        # When the last rank makes this sum, rank 0 has made the memory that they share.
        joining = {"rank": run.last_rank, "after": 2}
        order = run.order(phase, **(joining if phase == "join" else {"rank": own}))
        run.start()
        run.wait_for(order)
        if phase == "join":
            time.sleep(0.2)
        return
    run.parked()
    if phase == "reduction":
        # The others wait for this one there.
        run.hold("step", rank=run.last_rank if own == 0 else 0, after=2)
        time.sleep(run.rng.uniform(0.05, 0.2))
    elif phase in ("checkpoint", "evaluation", "upload", "summary"):
        run.hold(phase, after=run.rng.randint(1, _FILES) if phase == "checkpoint" else 1)
    else:
        run.hold(phase, rank=own)


def _hit(run: Run, victim: str, before: int) -> str:
    assert run.job is not None
    run.hit()
    run.job.send(victim, signal.SIGKILL)
    says = "" if victim == "launcher" else f"{victim} failed first: killed by SIGKILL"
    run.ends(SIGKILL_CODE, says=says, is_clean=False)
    run.require_kept(before)
    return victim


def _restart(run: Run) -> str:
    """The job starts again by itself, and goes on."""
    rank = run.rng.randint(0, run.last_rank)
    job = run.parked(["--max-restarts", "1"])
    before = run.newest()
    run.hit()
    job.send(f"rank {rank}", signal.SIGKILL)
    run.goes_on()
    if "restart 1 of 1" not in job.output():
        raise NotSurvived("the launcher does not say that it starts the job again")
    run.require_kept(before)
    return f"rank {rank}"


KINDS = [
    *(
        Kind(f"kill-{phase}", f"kill -9, {text}", partial(_kill, phase=phase))
        for phase, text in (
            ("start", "start"),
            ("join", "joining"),
            ("compile", "compiling"),
            ("step", "step"),
            ("reduction", "reduction"),
            ("consolidation", "consolidation"),
            ("checkpoint", "checkpoint written"),
            ("evaluation", "evaluation"),
        )
    ),
    Kind("kill-upload", "kill -9, upload", partial(_kill, phase="upload"), "store"),
    Kind("kill-summary", "kill -9, summary", partial(_kill, phase="summary"), is_last=True),
    Kind("kill-restart", "kill -9, --max-restarts", _restart),
    Kind("kill-random", "kill -9, random moment", _kill_at_random),
]

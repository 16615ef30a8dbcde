"""Every signal, to the launcher, to a rank, to all processes of the job."""

import signal
from functools import partial

from tools.drill.disturbed_run import Run
from tools.drill.job import NotSurvived
from tools.drill.kinds.kind import Kind

# Another rank than the one that was asked ends with this.
_ASKED_BY_A_RANK = 128 + signal.SIGTERM


def _stop(run: Run, number: signal.Signals) -> str:
    """Save at the next consolidation point, and end."""
    to, moment = _to(run), run.rng.choice(["compile", "step", "checkpoint"])
    before = run.newest()
    job = run.held(moment)
    run.hit()
    job.send(to, number)
    run.settle()
    run.let_go()
    codes = {128 + number, _ASKED_BY_A_RANK if to.startswith("rank") else 128 + number}
    ended = run.ends(128 + number, *codes, is_clean=False)
    run.require_kept(before)
    if f"Stopped at step {run.newest()}" not in ended.out:
        raise NotSurvived(f"newest checkpoint: {run.newest()}, and it says {ended.out[-200:]!r}")
    return f"{to}, {moment}"


def _save(run: Run, number: signal.Signals) -> str:
    """Save at the next consolidation point, and go on."""
    to = _to(run)
    job = run.parked()
    before = run.newest()
    run.hit()
    job.send(to, number)
    run.settle()
    run.goes_on(4)
    run.require_newer(before)
    return to


def _go_on(run: Run, number: signal.Signals) -> str:
    """Write where every thread stands, and go on."""
    to = _to(run)
    job = run.parked()
    run.hit()
    job.send(to, number)
    run.settle()
    run.goes_on()
    logs = run.run_folder.glob("logs/*/worker_*.log")
    if not any("most recent call first" in log.read_text(errors="replace") for log in logs):
        raise NotSurvived("no log says where the rank stood")
    return to


def _to(run: Run) -> str:
    return run.rng.choice(["launcher", f"rank {run.rng.randint(0, run.last_rank)}", "all"])


KINDS = [
    Kind(
        f"signal-{number.name[3:].lower()}", f"{number.name}: {text}", partial(does, number=number)
    )
    for number, text, does in (
        (signal.SIGTERM, "save and end", _stop),
        (signal.SIGINT, "save and end", _stop),
        (signal.SIGHUP, "save and end", _stop),
        (signal.SIGUSR2, "save and end", _stop),
        (signal.SIGUSR1, "save and go on", _save),
        (signal.SIGQUIT, "stacks, go on", _go_on),
    )
]

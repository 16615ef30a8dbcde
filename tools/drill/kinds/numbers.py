"""Numbers that go wrong within one rank: NaN, a bit, the clock."""

from tools.drill.disturbed_run import Run
from tools.drill.job import NotSurvived
from tools.drill.kinds.kind import Kind

_HOUR, _YEAR = 3600.0, 365 * 86400.0
# Of the mantissa of a float32, those that rounding does not take away within two steps.
_BITS = (20, 22)
_ALL_RANKS = -1


def _nan_gradient(run: Run) -> str:
    """All ranks skip the step, which leaves no trace."""
    rank = run.rng.randint(0, run.last_rank)
    run.parked()
    run.away_from_a_checkpoint()
    before = run.newest()
    run.hit()
    facts = run.wait_for(run.order("step", rank=rank, action="nan gradient"))
    if facts["changed"]:
        names = facts["changed"]
        raise NotSurvived(f"the skipped step has changed {len(names)} arrays, {names[0]} first")
    run.goes_on()
    if "skipped" not in run.output():
        raise NotSurvived("it does not say that a step was skipped")
    # One step fewer is another run: what is compared goes on from what was saved before.
    run.end()
    run.require_kept(before)
    return f"rank {rank}, no trace in any array"


def _nan_statistic(run: Run) -> str:
    """The run ends, and nothing of it is saved."""
    rank = run.rng.randint(0, run.last_rank)
    run.parked()
    before = run.newest()
    run.hit()
    run.wait_for(run.order("step", rank=rank, action="nan statistic"))
    run.let_go()
    run.ends(2, says="not finite", is_clean=False)
    run.require_kept(before)
    return f"rank {rank}, refused"


def _flip(run: Run, what: str) -> str:
    """The ranks find that they differ, and nothing of it is saved."""
    rank = run.rng.randint(0, run.last_rank)
    run.parked()
    before = run.newest()
    run.hit()
    values = (what, run.rng.randint(*_BITS))
    run.wait_for(run.order("step", rank=rank, action="flip", values=values))
    run.let_go()
    run.ends(1, says="the ranks hold different models", is_clean=False)
    run.require_kept(before)
    return f"rank {rank}, found"


def _flip_parameter(run: Run) -> str:
    return _flip(run, "parameter")


def _flip_slot(run: Run) -> str:
    return _flip(run, "slot")


def _clock(run: Run) -> str:
    rank = run.rng.choice([_ALL_RANKS, *range(run.site.nproc)])
    seconds = run.rng.choice([_HOUR, _YEAR]) * run.rng.choice([-1, 1])
    run.parked()
    run.hit()
    # One after the other: a rank that is held after its step keeps the next from making its own.
    for one in range(run.site.nproc) if rank == _ALL_RANKS else [rank]:
        run.wait_for(run.order("step", rank=one, action="clock", values=(seconds,)))
    run.goes_on(4)
    return f"{'all ranks' if rank == _ALL_RANKS else f'rank {rank}'}, {seconds / _HOUR:+g} h"


KINDS = [
    Kind("nan-gradient", "NaN in a gradient of one rank", _nan_gradient),
    Kind("nan-statistic", "NaN in a statistic of one rank", _nan_statistic),
    Kind("flip-parameter", "bit flip in one rank, parameter", _flip_parameter),
    Kind("flip-optimizer", "bit flip in one rank, optimizer", _flip_slot),
    Kind("clock", "clock jump", _clock),
]

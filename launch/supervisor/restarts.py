"""Whether a job that has failed is worth another attempt."""

from collections.abc import Sequence

from launch.supervisor.failure_report import Cause

_LONGEST_PAUSE = 60.0


def reason_to_give_up(causes: Sequence[Cause], max_restarts: int) -> str | None:
    """Return why there is no further attempt, "" if that goes without saying, None if there is.

    Args:
        causes: Of all attempts so far, the last one at the end.
        max_restarts: How many restarts are allowed.
    """
    last = causes[-1]
    if last.is_final:
        return ""
    if max_restarts and any((c.step, c.error) == (last.step, last.error) for c in causes[:-1]):
        at = "before the first step" if last.step is None else f"at step {last.step}"
        return f"it failed twice {at} with the same error"
    if len(causes) > max_restarts:
        return f"that was the last of {max_restarts} restarts" if max_restarts else ""
    return None


def pause(restart: int) -> float:
    """Return the seconds to wait before a restart, counted from 1: 1, 2, 4 ... 60."""
    return min(2.0 ** (restart - 1), _LONGEST_PAUSE)

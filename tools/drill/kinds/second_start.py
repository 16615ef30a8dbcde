"""Somebody else in the same folder."""

from tools.drill.disturbed_run import Run
from tools.drill.job import NotSurvived
from tools.drill.kinds.kind import Kind


def _second_start(run: Run) -> str:
    """The second is refused; the first does not notice."""
    run.parked()
    run.hit()
    second = run.launch(program="launch").finish()
    if second.code != 2 or "is in use by" not in second.err:
        raise NotSurvived(
            f"the second start ends with exit code {second.code}: {second.err[-200:]}"
        )
    run.goes_on()
    return "refused"


KINDS = [Kind("second-start", "second start in the same folder", _second_start)]

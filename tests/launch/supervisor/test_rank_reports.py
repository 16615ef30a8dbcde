"""What the launcher makes of the files of a rank that has got no farther than half of them."""

from pathlib import Path

import pytest

from launch.plan.processes import Process
from launch.supervisor.rank_reports import NotedFailure, Progress, RankReports
from train.environment import ERROR, HEARTBEAT
from train.process.health import Heartbeat

RANK = Process(3, 0, "here", "cpu", ("python",), {})


@pytest.mark.parametrize("text", [None, "", "12 step", "12 step 9 9", "x step 9"])
def test_a_heartbeat_that_says_nothing(tmp_path: Path, text: str | None) -> None:
    """Empty from the start of a rank to its first beat, and for good on a full disk."""
    reports = RankReports(tmp_path)
    file = Path(reports.variables(RANK)[HEARTBEAT])
    if text is not None:
        file.write_text(text)
    assert reports.progress(RANK) == Progress(0, "start", 0)
    assert reports.step(RANK) is None and (reports.heartbeat(RANK) > 0) == (text is not None)


def test_a_heartbeat_as_training_writes_it(tmp_path: Path) -> None:
    reports = RankReports(tmp_path)
    heartbeat = Heartbeat(reports.variables(RANK))
    assert reports.progress(RANK) == Progress(0, "start", 0)
    heartbeat.enter("step", 40)
    assert reports.progress(RANK) == Progress(40, "step", 1) and reports.step(RANK) == 40


@pytest.mark.parametrize("text", [None, "", '{"time": 1.5, "mess', "[]", "{}", '{"time": 1.5}'])
def test_a_failure_that_is_noted_by_half(tmp_path: Path, text: str | None) -> None:
    reports = RankReports(tmp_path)
    file = Path(reports.variables(RANK)[ERROR])
    if text is not None:
        file.write_text(text)
    assert reports.failure(RANK) is None
    file.write_text('{"time": 1.5, "message": "lost", "code": 3}')
    assert reports.failure(RANK) == NotedFailure(1.5, "lost", 3)

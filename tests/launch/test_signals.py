"""Every row of the table in docs/launch/signals.md, on real jobs of two ranks.

One job is hit again and again, and goes on. A second one is hit before it trains, and then ended.
"""

import contextlib
import operator
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.launch.training_jobs import TrainingJob, newest_step, steps_in, write_job
from tests.marked import Marked
from tests.paths import ROOT
from train.process.signals import REQUESTS, STOP

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

ENDLESS = 1_000_000
RANKS = ("rank 0", "rank 1")
SCRIPT = ("bash", str(ROOT / "launch" / "run_distribute_8p.sh"))

Hit = Callable[[TrainingJob, int], None]


@pytest.fixture(scope="module")
def config(one_task_tree: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Saves only when it is asked to."""
    folder = tmp_path_factory.mktemp("signals")
    tree = {**one_task_tree, "log_every": 1}
    return write_job(folder, tree, ENDLESS, consolidate_every=5, every=0, keep=100)


@pytest.fixture(scope="module")
def running(config: Path) -> Iterator[TrainingJob]:
    """A job that trains."""
    job = TrainingJob(config, config.parent / "run", "nproc=2")
    job.wait_until(lambda: bool(steps_in(job.run_dir)))
    yield job
    job.clean_up()


def test_a_job_on_one_machine_listens_on_loopback_only(running: TrainingJob) -> None:
    """As SECURITY.md says; here since a job trains here."""
    listeners = running.listeners()
    assert listeners.keys() == {running.pid(name) for name in ("scheduler", *RANKS)}
    assert set().union(*listeners.values()) == {"0100007F"}


def to_launcher(job: TrainingJob, number: int) -> None:
    os.kill(job.pid("launcher"), number)


def to_one_rank(job: TrainingJob, number: int) -> None:
    os.kill(job.pid("rank 1"), number)


def to_all(job: TrainingJob, number: int) -> None:
    """As srun does, to every process at once."""
    for pid in job.survivors():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def ignores_usr1(pid: int) -> bool:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    mask = next(int(line.split()[1], 16) for line in lines if line.startswith("SigIgn:"))
    return bool(mask & 1 << (signal.SIGUSR1 - 1))


def log(job: TrainingJob, rank: int) -> str:
    return (job.run_dir / "logs" / "attempt_0" / f"worker_{rank}.log").read_text()


def assert_goes_on(job: TrainingJob) -> None:
    step = steps_in(job.run_dir)[-1]
    job.wait_until(lambda: steps_in(job.run_dir)[-1] > step + 5)
    assert job.process.poll() is None and all(map(job.pid, RANKS))


@pytest.mark.parametrize("hit", [to_launcher, to_one_rank, to_all])
def test_usr1_saves_and_goes_on(running: TrainingJob, hit: Hit) -> None:
    before, step = newest_step(running.run_dir), steps_in(running.run_dir)[-1]
    hit(running, signal.SIGUSR1)
    running.wait_until(lambda: newest_step(running.run_dir) > before)
    # At a consolidation point that came later, and near.
    saved = newest_step(running.run_dir)
    assert saved % 5 == 0 and saved >= step
    assert_goes_on(running)


@pytest.mark.parametrize(
    ("hit", "writing"), [(to_launcher, (0, 1)), (to_one_rank, (1,)), (to_all, (0, 1))]
)
def test_quit_writes_stacks_and_goes_on(
    running: TrainingJob, hit: Hit, writing: tuple[int, ...]
) -> None:
    def dumps() -> list[int]:
        return [log(running, rank).count("Current thread") for rank in writing]

    before = dumps()
    hit(running, signal.SIGQUIT)
    running.wait_until(lambda: all(map(operator.gt, dumps(), before)))
    for rank in writing:
        assert "train/trainer.py" in log(running, rank)
    assert_goes_on(running)


def test_the_scheduler_serves_on_whatever_comes(running: TrainingJob) -> None:
    for number in (*STOP, *REQUESTS):
        running.hit("scheduler", number)
    assert_goes_on(running)
    assert running.pid("scheduler")


def test_usr2_saves_and_ends_whatever_else_comes(running: TrainingJob) -> None:
    """The last test of this job: no step is lost, and nothing is left."""
    running.hit("rank 1", signal.SIGSTOP)  # so that it cannot end before all signals have come
    for number in (signal.SIGUSR2, signal.SIGUSR1, signal.SIGQUIT, signal.SIGTERM):
        to_all(running, number)
    to_launcher(running, signal.SIGUSR2)
    running.hit("rank 1", signal.SIGCONT)
    code, out, err = running.finish()
    assert (code - 128 in (signal.SIGUSR2, signal.SIGTERM), err) == (True, "")
    step = newest_step(running.run_dir)
    assert step == steps_in(running.run_dir)[-1]
    assert f"Stopped at step {step}" in out
    running.assert_all_gone()


def test_requests_before_there_is_anything_to_save(config: Path, started: list[Marked]) -> None:
    """From the first line of the shell script to the end of the first compilation."""
    run_dir = config.parent / "early"
    job = TrainingJob(config, run_dir, "nproc=2", launcher=SCRIPT, MTLN_PYTHON=sys.executable)
    started.append(job)
    job.wait_until(lambda: ignores_usr1(job.process.pid))  # until the shell has read its script
    while not steps_in(run_dir):
        for number in (signal.SIGUSR1, signal.SIGQUIT):
            to_all(job, number)
        time.sleep(0.2)  # the launcher says so each time, and nobody reads that yet
        assert job.process.poll() is None, job.process.communicate()
    job.wait_until(lambda: newest_step(run_dir) > 0)  # what came then is not forgotten
    to_all(job, signal.SIGUSR2)
    code, out, _ = job.finish()
    assert code == 128 + signal.SIGUSR2
    assert f"Stopped at step {newest_step(run_dir)}" in out
    assert newest_step(run_dir) == steps_in(run_dir)[-1]
    job.assert_all_gone()

"""Real training jobs that are hit at any moment: what they say, leave behind, and come to.

Most tests hit one run of two ranks, which goes on from where the last test has left it. The last
test lets it run to its end, which must be that of a run nobody has disturbed, bit for bit.
"""

import json
import random
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load_file

from launch.supervisor.failure_report import hints_for
from tests.launch.script_jobs import ScriptJob
from tests.launch.training_jobs import TrainingJob, newest_step, steps_in, write_job
from tests.marked import Marked
from tests.ranks import run_train

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

STEPS = 48
StartJob = Callable[..., TrainingJob]


@pytest.fixture(scope="module")
def config(one_task_tree: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every fourth consolidation point has a checkpoint."""
    folder = tmp_path_factory.mktemp("faults")
    return write_job(folder, one_task_tree, STEPS, consolidate_every=2, every=8, keep=3)


@pytest.fixture(scope="module")
def run_dir(config: Path) -> Path:
    """The run that is hit again and again."""
    return config.parent / "hit"


@pytest.fixture(scope="module")
def undisturbed(config: Path) -> Path:
    run_dir = config.parent / "undisturbed"
    run_train(2, config, f"run_dir={run_dir}")
    return run_dir


@pytest.fixture
def start(config: Path, run_dir: Path, started: list[Marked]) -> StartJob:
    """Starts the run, or lets it go on."""

    def start(*options: object, **variables: str) -> TrainingJob:
        # Ranks that are asked to stop may still have to compile the step they are at.
        options = ("nproc=2", "--grace", "300", *options)
        job = TrainingJob(config, run_dir, *options, **variables)
        started.append(job)
        return job

    return start


def attempts(run_dir: Path) -> int:
    return len(list(run_dir.glob("logs/attempt_*")))


@pytest.mark.parametrize(
    ("name", "moment"),
    [
        ("rank 1", "starting"),
        ("scheduler", "compiling"),
        ("rank 0", "training"),
    ],
)
def test_kill_of_any_process_ends_the_job(
    start: StartJob, run_dir: Path, name: str, moment: str
) -> None:
    before = newest_step(run_dir), attempts(run_dir)
    job = start()
    job.wait_for(moment, random.Random(f"{name} {moment}"))
    job.hit(name, signal.SIGKILL)
    code, out, err = job.finish()
    assert code == 128 + signal.SIGKILL
    assert f"{name} failed first: killed by SIGKILL" in err
    job.assert_all_gone()
    assert attempts(run_dir) == before[1] + 1
    assert newest_step(run_dir) >= before[0]
    if before[0] and moment != "starting":
        assert f"checkpoints/step_{before[0]:08d}" in out  # from where it went on


def test_kill_of_the_launcher_leaves_nothing(start: StartJob, run_dir: Path) -> None:
    job = start()
    job.wait_for("training", random.Random("launcher"))
    job.process.kill()
    job.assert_all_gone()
    assert newest_step(run_dir) < STEPS  # they have not just come to their end


def test_kill_while_a_checkpoint_is_written(start: StartJob, run_dir: Path) -> None:
    job = start()
    pid = job.stop_while_saving()
    before = newest_step(run_dir)
    job.hit("rank 0", signal.SIGKILL)
    code, _, err = job.finish()
    assert code == 128 + signal.SIGKILL
    assert "rank 0 failed first: killed by SIGKILL" in err
    job.assert_all_gone()
    assert list(run_dir.glob(f"checkpoints/.step_*.{pid}"))
    assert newest_step(run_dir) == before


@pytest.mark.parametrize(("moment", "everyone"), [("compiling", False), ("training", True)])
def test_asked_to_stop_it_saves_what_it_has_done(
    start: StartJob, run_dir: Path, moment: str, everyone: bool
) -> None:
    """Some job managers ask the launcher alone, others every process of the job."""
    job = start()
    job.wait_for(moment, random.Random(moment))
    if everyone:
        for name in ("scheduler", "rank 1", "rank 0"):
            job.hit(name, signal.SIGTERM)
    job.process.terminate()
    code, out, err = job.finish()
    assert (code, err) == (128 + signal.SIGTERM, "")
    job.assert_all_gone()
    assert newest_step(run_dir) == max(steps_in(run_dir))
    assert f"Stopped at step {newest_step(run_dir)}" in out


def test_asked_to_stop_while_a_checkpoint_is_written(start: StartJob, run_dir: Path) -> None:
    job = start()
    pid = job.stop_while_saving()
    job.process.terminate()
    job.wait_for_pending_term(pid)
    job.hit("rank 0", signal.SIGCONT)
    code, _, err = job.finish()
    assert (code, err) == (128 + signal.SIGTERM, "")
    job.assert_all_gone()
    assert not list(run_dir.glob("checkpoints/.step_*"))
    assert newest_step(run_dir) == max(steps_in(run_dir))


def test_rank_that_never_comes_up(start: StartJob, tmp_path: Path) -> None:
    """Its interpreter fails at once, and the other waits for it to join."""
    (tmp_path / "sitecustomize.py").write_text(
        "import os, sys\n"
        "if os.environ.get('MS_NODE_ID') == '1':\n"
        "    print('this interpreter is broken', file=sys.stderr, flush=True)\n"
        "    os._exit(9)\n"
    )
    job = start(PYTHONPATH=str(tmp_path))
    code, _, err = job.finish()
    assert code == 9
    assert "rank 1 failed first: exit code 9" in err
    assert "this interpreter is broken" in err
    job.assert_all_gone()


def test_port_that_is_taken_in_the_last_moment(job: ScriptJob) -> None:
    """By another program, between the launcher's look and the scheduler's start."""
    code, _, err = job.start(
        "time.sleep(600)",
        scheduler="""
        import os, socket
        address = os.environ["MS_SCHED_HOST"], int(os.environ["MS_SCHED_PORT"])
        other = socket.create_server(address)
        from launch.scheduler import main
        main()
        """,
    ).finish(seconds=300)
    assert code == 1
    assert "scheduler failed first: exit code 1" in err
    assert "hint: the port of MindSpore's scheduler is taken" in err
    job.assert_all_gone()


def test_restarts_by_itself_and_ends_as_if_nothing_had_happened(
    start: StartJob, run_dir: Path, undisturbed: Path
) -> None:
    before = attempts(run_dir)
    job = start("--max-restarts", "1")
    job.wait_for("training", random.Random("restart"))
    job.wait_until(lambda: newest_step(run_dir) > 0)
    first = job.variables(job.pid("rank 0"))
    job.hit("rank 1", signal.SIGKILL)
    job.wait_until(lambda: attempts(run_dir) == before + 2 and job.pid("rank 0") != 0)
    second = job.variables(job.pid("rank 0"))
    code, out, err = job.finish()
    assert code == 0, err
    assert "rank 1 failed first: killed by SIGKILL" in err
    assert "restart 1 of 1" in err
    assert first["MS_SCHED_PORT"] != second["MS_SCHED_PORT"]
    assert "Resuming from" in out
    job.assert_all_gone()

    last = f"checkpoints/step_{STEPS:08d}"
    for file in ("model.safetensors", "optimizer.safetensors"):
        one, other = (load_file(run / last / file) for run in (undisturbed, run_dir))
        assert one.keys() == other.keys()
        assert [key for key in one if one[key].tobytes() != other[key].tobytes()] == []
    assert steps_in(run_dir) == steps_in(undisturbed) == list(range(1, STEPS + 1))
    summaries = [json.loads((r / "summary.json").read_text()) for r in (undisturbed, run_dir)]
    assert summaries[0]["tasks"] == summaries[1]["tasks"]


def test_logs_of_a_good_run_give_no_hints(undisturbed: Path) -> None:
    logs = list(undisturbed.glob("logs/*/*.log"))
    assert len(logs) == 3
    for log in logs:
        assert hints_for(log.read_text(errors="replace").splitlines()) == []

"""launch/slurm.sbatch in a real Slurm."""

import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.launch.slurm.cluster import Cluster, Job
from tests.paths import ROOT
from tests.tools.predict.outputs import content

Submit = Callable[..., Job]

TWO_NODES = "--nodes=2"
ENDLESS = "run_dir=run schedule.steps=1000000 schedule.consolidate_every=20"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "submitted here"


def summary_of(run_dir: Path) -> dict[str, Any]:
    summary: dict[str, Any] = json.loads((run_dir / "summary.json").read_text())
    return summary


def checkpoints(run_dir: Path) -> list[str]:
    return sorted(path.name for path in (run_dir / "checkpoints").glob("step_*"))


@pytest.mark.slow
def test_trains_on_two_nodes(submit: Submit, folder: Path) -> None:
    job = submit("--nodes=2 --cpus-per-task=2", "run_dir=run/two nproc=1")
    record = job.wait_for_end()
    assert (record["JobState"], record["ExitCode"]) == ("COMPLETED", "0:0"), job.output
    assert summary_of(folder / "run/two")["world_size"] == 2
    logs = {path.name for path in (folder / "run/two/logs/attempt_0").iterdir()}
    assert {"worker_0.log", "worker_1.log"} <= logs
    assert f"Run folder: {folder}/run/two" in job.output
    job.assert_all_gone()


@pytest.mark.slow
def test_array_of_which_one_task_comes_near_its_time_limit(submit: Submit, folder: Path) -> None:
    """Both run at the same time on the same two nodes; the one is saved, put back, and goes on."""
    array = submit(
        f"{TWO_NODES} --array=0-1",
        "run_dir=run%a seed=%a schedule.steps=100 schedule.consolidate_every=10",
    )
    tasks = [array.task(0), array.task(1)]
    for task in tasks:
        task.wait_for_output("\nstep ")
    # Its number is that of the array: a command that names it so would reach both tasks.
    assert tasks[1].record()["JobId"] == array.name
    array.cluster.ask("scancel", "--batch", "--signal=USR1", tasks[1].name)
    records = [task.wait_for_end() for task in tasks]
    assert [(r["JobState"], r["Restarts"]) for r in records] == [
        ("COMPLETED", "0"),
        ("COMPLETED", "1"),
    ]
    assert "Stopped at step" in tasks[1].output
    assert "Resuming from" in tasks[1].output
    for task, number in zip(tasks, (0, 1), strict=True):
        run_dir = folder / f"run{number}"
        assert "restart" not in task.output or number == 1
        assert summary_of(run_dir)["world_size"] == 2
        assert f"seed: {number}" in (run_dir / "config.yaml").read_text()
        assert len(list((run_dir / "logs").iterdir())) == 1 + number
    array.assert_all_gone()


@pytest.mark.slow
def test_pre_empted_saved_and_put_back_and_later_stopped_for_good(
    cluster: Cluster, submit: Submit, folder: Path
) -> None:
    job = submit(f"{TWO_NODES} --exclusive", ENDLESS)
    job.wait_for_output("\nstep ")
    urgent = cluster.submit(
        *("--partition=urgent", TWO_NODES, "--exclusive", "--wrap=hostname"), cwd=folder
    )
    assert urgent.wait_for_end()["JobState"] == "COMPLETED"
    (saved,) = checkpoints(folder / "run")
    job.wait_for_output(f"Resuming from {folder}/run/checkpoints/{saved}")
    assert "pre-empted: back into the queue" in job.output
    # As --signal=USR1@S without B: does: for the tasks alone, which save and go on.
    cluster.ask("scancel", "--signal=USR1", job.name)
    job.wait_until(lambda: checkpoints(folder / "run")[-1] > saved)
    steps = job.output.count("\nstep ")
    job.wait_until(lambda: job.output.count("\nstep ") > steps)

    # TERM for the tasks alone, as docs/launch.md tells users who want to go on later.
    cluster.ask("scancel", "--signal=TERM", job.name)
    record = job.wait_for_end()
    assert (record["JobState"], record["ExitCode"], record["Restarts"]) == ("FAILED", "143:0", "1")
    assert checkpoints(folder / "run")[-1] > saved
    assert job.output.count("Stopped at step") == 2
    job.assert_all_gone()


@pytest.mark.slow
def test_cancelled_leaves_nothing_and_is_not_put_back(submit: Submit) -> None:
    # It does not come to the next consolidation point in the time that Slurm leaves it.
    job = submit(TWO_NODES, f"{ENDLESS} schedule.consolidate_every=500")
    job.wait_for_output("\nstep ")
    assert {v.get("RANK_ID") for v in job.processes().values()} >= {"0", "1"}
    job.cluster.ask("scancel", job.name)
    record = job.wait_for_end()
    assert (record["JobState"], record["Restarts"]) == ("CANCELLED", "0")
    job.assert_all_gone()


@pytest.mark.slow
def test_not_put_back_without_a_new_checkpoint(submit: Submit, folder: Path) -> None:
    job = submit(TWO_NODES, f"{ENDLESS} schedule.consolidate_every=500 --grace 1")
    job.wait_for_output("\nstep ")
    job.cluster.ask("scancel", "--batch", "--signal=USR1", job.name)
    record = job.wait_for_end()
    assert (record["JobState"], record["Restarts"]) == ("FAILED", "0")
    assert "not put back into the queue: this start saved no checkpoint" in job.output
    assert not checkpoints(folder / "run")
    job.assert_all_gone()


@pytest.mark.slow
def test_processes_of_srun_share_a_prediction(
    cluster: Cluster, trained_run: Path, small_sets: dict[str, Path], tmp_path: Path
) -> None:
    """As docs/predict.md shows it, on two nodes; one process gives the same bytes."""
    pictures = small_sets["fields"].parents[1] / "images"
    predict = [sys.executable, "-m", "tools", "predict", str(trained_run), str(pictures)]
    # Of one kind of instructions: this process may be capped to them (tests/conftest.py).
    variables = {"PYTHONPATH": str(ROOT), "ONEDNN_MAX_CPU_ISA": "AVX2"}
    command = f"srun --mpi=none {shlex.join([*predict, '--out', 'shared'])}"
    job = cluster.submit(
        *("--nodes=2", "--ntasks=2", f"--wrap={command}"), cwd=tmp_path, **variables
    )
    alone = [*predict, "--out", "alone"]
    subprocess.run(alone, cwd=tmp_path, env={**os.environ, **variables}, check=True)
    record = job.wait_for_end()
    assert (record["JobState"], record["ExitCode"]) == ("COMPLETED", "0:0"), job.output
    assert "has done its share" in job.output
    shared, one = content(tmp_path / "shared"), content(tmp_path / "alone")
    assert shared == one and len(one["predictions.jsonl"].splitlines()) > 64
    job.assert_all_gone()


@pytest.mark.slow
def test_death_of_a_rank_on_the_other_node_fails_the_job(submit: Submit) -> None:
    job = submit(TWO_NODES, ENDLESS)
    job.wait_for_output("\nstep ")
    (rank,) = (pid for pid, variables in job.processes().items() if variables.get("RANK_ID") == "1")
    os.kill(rank, signal.SIGKILL)
    record = job.wait_for_end()
    assert (record["JobState"], record["ExitCode"], record["Restarts"]) == ("FAILED", "137:0", "0")
    assert "rank 1 failed first: killed by SIGKILL" in job.output
    job.assert_all_gone()


@pytest.mark.parametrize(
    ("options", "settings", "message"),
    [
        (TWO_NODES, "--hang-timeout soon", "--hang-timeout must be a number of seconds"),
        (TWO_NODES, "run_dir=run modle.depth=10", "command line: modle: unknown key"),
        ("--array=3", "", "the tasks of an array need a run folder each: add run_dir="),
        ("--gres=npu:8", "", "Slurm gave this job NPUs (TresPerNode=gres:npu:8), but there is no"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    submit: Submit, options: str, settings: str, message: str
) -> None:
    job = submit(options, settings)
    if options.startswith("--array"):
        job = job.task(3)
    record = job.wait_for_end()
    assert (record["JobState"], record["ExitCode"]) == ("FAILED", "2:0")
    (line,) = [line for line in job.output.splitlines() if line.startswith("error: ")]
    assert line.startswith(f"error: {message}")
    assert "Traceback" not in job.output


def test_copy_of_the_script_elsewhere(cluster: Cluster, project: Path, tmp_path: Path) -> None:
    """With options of the user's own in it: found from the folder it is submitted from, or not."""
    copy = tmp_path / "mine.sbatch"
    copy.write_text((project / "launch/slurm.sbatch").read_text())
    lost = cluster.submit(copy, "no.yaml", cwd=tmp_path)
    assert lost.wait_for_end()["ExitCode"] == "2:0"
    assert lost.output.startswith("error: cannot find the project: submit its launch/slurm.sbatch")
    found = cluster.submit(copy, "no.yaml", cwd=project, MTLN_PYTHON=sys.executable)
    assert found.wait_for_end()["ExitCode"] == "2:0"
    assert "no.yaml does not exist" in found.output

"""Ranks that neither our launcher nor mpirun starts: the user's own msrun, and one by one."""

import os
import socket
import sys
from pathlib import Path

import pytest

from tests.marked import StartMarked
from tests.ranks import reductions_of_steps
from tests.train.runs import assert_same_to_rounding, summary_of

pytestmark = [pytest.mark.cluster, pytest.mark.slow]


@pytest.fixture
def port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        number: int = free.getsockname()[1]
        return number


# As docs/launch.md gives them: a rank that compiles must not be taken for dead.
PATIENT = {"MS_CPU_COMM_OP_TIMEOUT": "600", "MS_NODE_TIMEOUT": "300"}


def test_one_message_per_step(start_config: Path, launched: Path) -> None:
    """Two scene tasks: the shared gradients, two losses, the norm of the local gradients."""
    summary = summary_of(launched)
    values = summary["parameters"]["shared"] + 2 + 1
    assert summary["bytes_reduced_per_step"] == 4 * values
    assert reductions_of_steps(start_config.parent / "graphs") == [[values]] * 2  # as many ranks


def test_rank_by_rank(
    start_config: Path, launched: Path, start: StartMarked, tmp_path: Path, port: int
) -> None:
    """A scheduler and two workers with the variables of MindSpore's documentation."""
    run_dir = tmp_path / "run"
    command = (sys.executable, "-m", "train", start_config, f"run_dir={run_dir}")
    cluster = {
        **PATIENT,
        "MS_WORKER_NUM": "2",
        "MS_SCHED_HOST": "127.0.0.1",
        "MS_SCHED_PORT": str(port),
    }
    scheduler = start(*command, variables={**cluster, "MS_ROLE": "MS_SCHED"})
    ranks = [
        start(*command, variables={**cluster, "MS_ROLE": "MS_WORKER", "MS_NODE_ID": str(rank)})
        for rank in range(2)
    ]
    outputs = [process.succeed() for process in (*ranks, scheduler)]
    assert "Test accuracy" in outputs[0] and not outputs[2]
    assert summary_of(run_dir)["world_size"] == 2
    assert_same_to_rounding(launched, run_dir)


def test_msrun(
    start_config: Path, launched: Path, start: StartMarked, tmp_path: Path, port: int
) -> None:
    run_dir, folder = tmp_path / "run", Path(sys.executable).parent
    options = {
        "worker_num": 2,
        "local_worker_num": 2,
        "master_port": port,
        "join": True,
        "log_dir": tmp_path / "logs",
    }
    job = start(
        folder / "msrun",
        *(f"--{name}={value}" for name, value in options.items()),
        *("python", "-m", "train", start_config, f"run_dir={run_dir}"),
        variables={**PATIENT, "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"},
    )
    job.succeed()
    job.assert_all_gone()
    assert "Test accuracy" in (tmp_path / "logs/worker_0.log").read_text()
    assert summary_of(run_dir)["world_size"] == 2
    assert_same_to_rounding(launched, run_dir)

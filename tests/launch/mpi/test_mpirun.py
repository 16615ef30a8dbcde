"""launch/run_mpi.sh: the command it makes, and mpirun that it watches over."""

import os
import signal
import sys
from pathlib import Path

import pytest

from launch.job import Job
from launch.mpi.__main__ import main
from launch.mpi.mpirun import Start, plan
from launch.plan.machine import Machine
from tests.launch.checkout import ON_PAPER
from tests.marked import AS_ROOT, Marked, needs_open_mpi
from train.errors import UserError

ONE_NODE = Machine(npus=(), core_groups=(tuple(range(16)),))
LOGS = Path("logs")


def planned(machine: Machine, ranks: int | None, **environment: str) -> Start:
    return plan(Job(["train"], Path("run"), ranks), LOGS, machine, environment)


def options(machine: Machine, ranks: int | None, **environment: str) -> list[str]:
    """What stands between the number of ranks and what they run."""
    start = planned(machine, ranks, **environment)
    assert start.command[:2] == ("mpirun", "-n")
    assert start.command[3:5] == ("--output-filename", "logs") and start.command[-1] == "train"
    return [start.command[2], *start.command[5:-1]]


@pytest.fixture(autouse=True)
def sixteen_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 16)


@pytest.mark.parametrize(("ranks", "each"), [(1, 16), (2, 8), (3, 5), (16, 1)])
def test_every_rank_gets_its_share_of_the_cores(ranks: int, each: int) -> None:
    binding = ["--use-hwthread-cpus", "--map-by", f"slot:PE={each}", "--bind-to", "hwthread"]
    assert options(ONE_NODE, ranks) == [str(ranks), "--quiet", *binding]
    variables = planned(ONE_NODE, ranks).environment
    assert variables["OMP_NUM_THREADS"] == str(each)


def test_default_number_of_ranks() -> None:
    assert options(ONE_NODE, None)[0] == "8"
    assert options(Machine(npus=(4, 5), core_groups=ONE_NODE.core_groups), None)[0] == "2"


@pytest.mark.parametrize(
    ("machine", "ranks"),
    [
        (ONE_NODE, 17),
        (Machine(npus=(), core_groups=((4, 5, 6, 7),)), 2),  # may not use all cores
        (Machine(npus=tuple(range(8)), core_groups=ONE_NODE.core_groups), 8),
    ],
)
def test_no_binding_where_mpirun_would_bind_wrongly(machine: Machine, ranks: int) -> None:
    assert options(machine, ranks) == [
        *(str(ranks), "--quiet", "--oversubscribe", "--bind-to", "none")
    ]


def test_options_of_the_user_take_the_place_of_ours() -> None:
    own = "--hostfile 'my hosts' --bind-to none"
    got = options(ONE_NODE, 16, MPIRUN_OPTIONS=own, HCCL_IF_IP="10.0.0.1", HOME="/root")
    assert got[:5] == ["16", "--hostfile", "my hosts", "--bind-to", "none"]
    assert got[5:7] == ["-x", "GLOG_v"] and "HCCL_IF_IP" in got and "HOME" not in got


def test_variables() -> None:
    users = {"GLOG_v": "0", "RANK_ID": "3", "MS_ROLE": "MS_WORKER", "OMP_NUM_THREADS": "9"}
    users |= {"RANK_TABLE_FILE": "hccl.json", "MINDSPORE_HCCL_CONFIG_PATH": "hccl.json"}
    variables = planned(ONE_NODE, 2, **users).environment
    assert variables["GLOG_v"] == "0" and variables["OMP_NUM_THREADS"] == "9"
    assert variables["OMPI_MCA_mpi_yield_when_idle"] == "1"
    assert "hccl.json" not in variables.values()
    assert not {"RANK_ID", "MS_ROLE"} & variables.keys()


def test_mistakes_of_the_plan() -> None:
    npus = Machine(npus=(0, 1), core_groups=ONE_NODE.core_groups)
    with pytest.raises(UserError, match="nproc is 3, but this machine has 2 NPUs"):
        options(npus, 3)
    with pytest.raises(UserError, match=r"the variable MPIRUN_OPTIONS is .*: No closing quotation"):
        options(npus, 3, MPIRUN_OPTIONS="--host 'a")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "job.yaml"
    path.write_text(ON_PAPER)
    return path


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    assert main([str(argument) for argument in arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    return line


def test_mistakes_of_the_command_line(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = refused(capsys, config, "--max-restarts", "3")
    assert "run_mpi.sh has no option --max-restarts" in line and "MPIRUN_OPTIONS" in line
    assert "missing.yaml does not exist" in refused(capsys, "missing.yaml")
    assert "nproc" in refused(capsys, config, "nproc=two")


def test_no_mpirun(
    config: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    run_dir = tmp_path / "run"
    assert "mpirun is not on the PATH" in refused(capsys, config, f"run_dir={run_dir}")
    other = tmp_path / "mpirun"
    other.write_text("#!/bin/sh\necho HYDRA build details:\n")
    other.chmod(0o755)
    assert f"{other} is not OpenMPI's" in refused(capsys, config, f"run_dir={run_dir}")
    assert not run_dir.exists()


def test_not_under_another_mpirun(
    config: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMPI_COMM_WORLD_SIZE", "2")
    monkeypatch.setenv("OMPI_COMM_WORLD_RANK", "1")
    assert "started by mpirun, as rank 1, already" in refused(capsys, config)


def test_dry_run_starts_nothing(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_dir = config.parent / "run"
    (run_dir / "logs/attempt_0").mkdir(parents=True)
    assert main([str(config), f"run_dir={run_dir}", "nproc=1", "--dry-run"]) == 0
    line = capsys.readouterr().out
    assert line.startswith("mpirun -n 1") and "logs/attempt_1" in line
    assert [folder.name for folder in (run_dir / "logs").iterdir()] == ["attempt_0"]


# --- real mpirun, with small scripts in place of the training --------------------------------

DRIVER = """
import os, sys
from launch.mpi.mpirun import Start, run
from launch.supervisor.child_process import Signals
worker = [sys.executable, "-c", sys.argv[2]]
command = ("mpirun", "--quiet", "--oversubscribe", "-n", "2", *worker)
with Signals() as signals:
    code = run(Start(command, os.environ), float(sys.argv[1]), signals)
sys.exit(code)
"""
NOTES = """
import os, signal, sys, time
from pathlib import Path
rank = os.environ["OMPI_COMM_WORLD_RANK"]
def note(name):
    Path(os.environ["TEST_NOTES"], name + rank).touch()
"""
OBEYS = """
def stop(*_):
    note("saved")
    os._exit(0)
signal.signal(signal.SIGUSR2, stop)
note("ready")
time.sleep(900)
"""
GOES_ON = (
    """
signal.signal(signal.SIGUSR1, lambda *_: note("asked"))
"""
    + OBEYS
)
IGNORES = """
for number in (signal.SIGUSR2, signal.SIGTERM, signal.SIGINT):
    signal.signal(number, signal.SIG_IGN)
note("ready")
time.sleep(900)
"""
FAILS = """
if rank == "1":
    os._exit(7)
time.sleep(900)
"""


class MpiJob(Marked):
    def __init__(self, folder: Path, worker: str, grace: float = 60) -> None:
        self.folder = folder
        words = (sys.executable, "-c", DRIVER, grace, NOTES + worker)
        super().__init__(words, {**AS_ROOT, "TEST_NOTES": str(folder)})

    def notes(self, name: str) -> int:
        return len(list(self.folder.glob(f"{name}?")))

    def await_ready(self) -> None:
        self.wait_until(lambda: self.notes("ready") == 2)


@needs_open_mpi
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_the_ranks_save(tmp_path: Path, started: list[Marked], number: int) -> None:
    started.append(job := MpiJob(tmp_path, OBEYS))
    job.await_ready()
    job.process.send_signal(number)
    assert job.finish(seconds=120)[0] == 128 + number
    assert job.notes("saved") == 2
    job.assert_all_gone()


@needs_open_mpi
def test_a_request_reaches_the_ranks_and_ends_nothing(
    tmp_path: Path, started: list[Marked]
) -> None:
    started.append(job := MpiJob(tmp_path, GOES_ON))
    job.await_ready()
    job.process.send_signal(signal.SIGQUIT)  # which mpirun cannot hand on
    job.process.send_signal(signal.SIGUSR1)
    job.wait_until(lambda: job.notes("asked") == 2)
    job.process.send_signal(signal.SIGUSR2)
    assert job.finish(seconds=120)[0] == 128 + signal.SIGUSR2
    assert job.notes("saved") == 2
    job.assert_all_gone()


@needs_open_mpi
def test_ranks_that_do_not_end_are_killed(tmp_path: Path, started: list[Marked]) -> None:
    started.append(job := MpiJob(tmp_path, IGNORES, grace=0.5))
    job.await_ready()
    job.process.send_signal(signal.SIGTERM)
    assert job.finish(seconds=120)[0] == 128 + signal.SIGTERM
    job.assert_all_gone()


@needs_open_mpi
def test_exit_code_is_that_of_the_rank(tmp_path: Path, started: list[Marked]) -> None:
    started.append(job := MpiJob(tmp_path, FAILS))
    assert job.finish(seconds=120)[0] == 7
    job.assert_all_gone()


@needs_open_mpi
@pytest.mark.parametrize("victim", ["script", "mpirun", "rank"])
def test_killed_at_once_leaves_nothing(tmp_path: Path, started: list[Marked], victim: str) -> None:
    started.append(job := MpiJob(tmp_path, MPI_RANK))
    job.await_ready()
    process = job.process
    mpirun = children(process.pid)[0]
    pid = {"script": process.pid, "mpirun": mpirun, "rank": children(mpirun)[0]}[victim]
    os.kill(pid, signal.SIGKILL)
    assert job.finish(seconds=120)[0] in (-signal.SIGKILL, 128 + signal.SIGKILL)
    job.assert_all_gone()


# In MPI, as a rank is from its start on: without mpirun it ends by itself.
MPI_RANK = """
from mpi4py import MPI
note("ready")
time.sleep(900)
"""


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

"""python -m launch: arguments, mistakes, the printed plan."""

import resource
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from launch.arguments import parse
from launch.dry_run import plan_job
from launch.job import Job
from launch.plan.machine import Machine
from tests.launch.checkout import ON_PAPER
from tests.launch.script_jobs import Launch
from tests.paths import ROOT
from train.config.reader import load_config
from train.errors import UserError


@pytest.fixture(autouse=True)
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "my.config.yaml").write_text(ON_PAPER)
    monkeypatch.chdir(tmp_path)
    return Path("my.config.yaml")


def test_nproc_is_for_the_launcher_and_run_dir_for_both() -> None:
    given = parse(["my.config.yaml", "model.width=1", "nproc=2", "run_dir=x/y", "init_from=d=e"])
    assert (given.job.nproc, given.job.run_dir) == (2, Path("x/y"))
    assert given.job.worker_command[1:] == [
        *("-m", "train", "my.config.yaml", "model.width=1", "init_from=d=e", "run_dir=x/y")
    ]


def test_run_dir_is_explicit_without_being_given() -> None:
    given = parse(["my.config.yaml"])
    assert given.job.worker_command[-1] == "run_dir=runs/my.config"
    assert given.job.nproc is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("run_dir: out/x", "out/x"),
        ("run_dir: 2024-01-01", "2024-01-01"),
        ("run_dir: ~/x", str(Path("~/x").expanduser())),
        ("run_dir: obs://bucket/x", "runs/bucket/x"),
        ("seed: 1", "runs/my.config"),
    ],
)
def test_run_dir_of_the_configuration(config: Path, text: str, expected: str) -> None:
    """The launcher and the ranks, which get it in words, read the same."""
    config.write_text(f"{ON_PAPER}{text}\n")
    job = parse([str(config)]).job
    assert job.run_dir == Path(expected)
    _, _, _, path, *settings = job.worker_command
    assert load_config(Path(path), settings).run_folder == job.run_dir
    assert parse([str(config), "run_dir=mine"]).job.run_dir == Path("mine")


def test_options_and_settings_may_stand_in_any_order() -> None:
    words = "--grace 2.5 my.config.yaml seed=1 --nproc 4 ema=0.2 --dry-run"
    given = parse(words.split())
    assert (given.job.nproc, given.job.grace, given.dry_run) == (4, 2.5, True)
    assert given.job.worker_command[-3:-1] == ["seed=1", "ema=0.2"]


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("node-0", "node-0", None),
        ("10.0.0.1:29000", "10.0.0.1", 29000),
        ("fe80::1", "fe80::1", None),
        ("[fe80::1]:29000", "fe80::1", 29000),
        ("[fe80::1]", "fe80::1", None),
    ],
)
def test_master(text: str, host: str, port: int | None) -> None:
    job = parse(["my.config.yaml", "--nnodes", "2", "--node-rank", "1", "--master", text]).job
    assert (job.nnodes, job.node_rank, job.master, job.control_port) == (2, 1, host, port)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ([], "no configuration file"),
        (["missing.yaml"], "missing.yaml does not exist"),
        (["."], ". is a folder"),
        (["seed=1", "my.config.yaml"], "must come first: python -m launch my.config.yaml seed=1"),
        (["my.config.yaml", "word"], "'word'"),
        (["my.config.yaml", "=1"], "'=1'"),
        (["my.config.yaml", "nproc=0"], "not '0'"),
        (["my.config.yaml", "nproc=two"], "not 'two'"),
        (["my.config.yaml", "nproc=-1"], "not '-1'"),
        (["my.config.yaml", "nproc=2.0"], "not '2.0'"),
        (["my.config.yaml", "--nproc", "3", "nproc=2"], "contradict"),
        (["my.config.yaml", "run_dir="], "run_dir="),
        (["my.config.yaml", "--master-port", "80"], "--master-port"),
        (["my.config.yaml", "--grace", "soon"], "--grace"),
        (["my.config.yaml", "--grace", "nan"], "--grace"),
        (["my.config.yaml", "--colour"], "--colour"),
        (["my.config.yaml", "--nnodes", "2", "--node-rank", "1"], "--master"),
        (["my.config.yaml", "--nnodes", "2", "--master", "a"], "--node-rank"),
        (["my.config.yaml", "--nnodes", "2", "--node-rank", "2", "--master", "a"], "from 0 to 1"),
        (["my.config.yaml", "--master", ":29"], "--master"),
        (["my.config.yaml", "--master", "host:99999"], "port of --master"),
        (["my.config.yaml", "--max-restarts", "-1"], "--max-restarts"),
        (["my.config.yaml", "--format", "xml"], "--format"),
    ],
)
def test_mistakes(arguments: list[str], named: str) -> None:
    with pytest.raises(UserError) as raised:
        parse(arguments)
    assert named in str(raised.value)
    assert "\n" not in str(raised.value)


def test_mistake_is_one_line_and_creates_nothing(launch: Launch, tmp_path: Path) -> None:
    ended = launch("gone.yml", "run_dir=out")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == "error: configuration file gone.yml does not exist\n"
    assert not (tmp_path / "out").exists()


def test_port_in_use(launch: Launch, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
        for ended in (
            launch("my.config.yaml", "nproc=2", "run_dir=out", "--master-port", port),
            launch("my.config.yaml", "nproc=2", "run_dir=out", MS_SCHED_PORT=port),
        ):
            assert ended.returncode == 2
            assert ended.stderr.startswith(f"error: port {port} on 127.0.0.1 is taken")
            assert ended.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_run_dir_that_cannot_be_written(launch: Launch, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    ended = launch("my.config.yaml", "nproc=1", "run_dir=file")
    assert ended.returncode == 2
    assert ended.stderr.startswith("error: cannot write run folder file: ")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "logs").touch()
    ended = launch("my.config.yaml", "nproc=1", "run_dir=out")
    assert ended.returncode == 2
    assert ended.stderr.startswith("error: ")
    assert ended.stderr.count("\n") == 1


def test_more_ranks_than_npus() -> None:
    job = Job(worker_command=["true"], run_dir=Path("out"), nproc=9)
    with pytest.raises(UserError, match="nproc is 9, but this machine has 8 NPUs"):
        list(plan_job(job, Machine(tuple(range(8)), ((0, 1),))))


def test_dry_run_prints_every_process_and_creates_nothing(launch: Launch, tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    ended = launch("my.config.yaml", "nproc=3", "seed=1", "--dry-run", "--master-port", "23456")
    assert (ended.returncode, ended.stderr) == (0, "")
    for expected in ("scheduler", "rank 0", "rank 1", "rank 2", "  MS_SCHED_PORT=23456"):
        assert expected in ended.stdout.splitlines()
    assert ended.stdout.count("-m train my.config.yaml seed=1 run_dir=runs/my.config") == 3
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("program", ["launch", "launch.mpi", "launch.modelarts_job"])
def test_starting_loads_nothing_heavy(program: str) -> None:
    """Else the launcher would be slow to start, and large beside its workers."""
    listing = f"import sys, {program}.__main__\nprint(*sys.modules)\n"
    command = [sys.executable, "-c", listing]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    loaded = {name.partition(".")[0] for name in printed.split()}
    assert "launch" in loaded
    assert not loaded & {"mindspore", "numpy", "pydantic", "yaml", "s3fs", "botocore", "tools"}


def test_help_comes_at_once() -> None:
    """Well under a second; of the processor's time, as the machine may be busy."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "launch", "--help"]
    assert "usage: " in subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.7


def test_a_tool_takes_the_place_of_training() -> None:
    """All behind --tool is its own; its ranks work each by itself, and no watch expects steps."""
    words = "predict runs/x a --out made/b --flips --nproc-like 3"
    given = parse(["--nproc", "3", "--tool", *words.split()])
    assert given.config is None and given.job.worker_command[1:] == ["-m", "tools", *words.split()]
    assert given.job.run_dir == Path("made/b.launch").absolute()
    assert (given.job.nproc, given.job.hang_timeout, given.job.upload_command) == (3, 0.0, None)
    plan = list(plan_job(given.job, Machine((), ((0, 1),))))
    assert [process.rank for process in plan] == [0, 1, 2]
    assert [process.variables["RANK_ID"] for process in plan] == ["0", "1", "2"]
    assert all("MS_ROLE" not in process.variables for process in plan)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("--tool compare runs/x", "--tool compare: must be predict"),
        ("--tool", "--tool : must be predict"),
        ("--tool predict runs/x a", "--out DIR is missing"),
        ("my.config.yaml --tool predict runs/x a --out b", "my.config.yaml: with --tool there is"),
    ],
)
def test_tools_that_cannot_be_started(words: str, told: str) -> None:
    with pytest.raises(UserError, match=told):
        parse(words.split())

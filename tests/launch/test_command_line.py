"""python -m launch: arguments, mistakes, the printed plan."""

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from launch.__main__ import worker_command
from launch.arguments import parse
from launch.devices import Machine
from launch.errors import UserError
from launch.job import Job, plan_job

Launch = Any  # tests/launch/conftest.py


@pytest.fixture(autouse=True)
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "my.config.yaml").write_text("a: 1\n")
    monkeypatch.chdir(tmp_path)
    return Path("my.config.yaml")


def test_nproc_is_for_the_launcher_and_run_dir_for_both() -> None:
    given = parse(["my.config.yaml", "a.b=1", "nproc=2", "run_dir=x/y", "c=d=e"])
    assert (given.nproc, given.run_dir) == (2, Path("x/y"))
    assert given.overrides == ("a.b=1", "c=d=e")
    assert worker_command(given)[1:] == [
        *("-m", "train", "my.config.yaml", "a.b=1", "c=d=e", "run_dir=x/y")
    ]


def test_run_dir_is_explicit_without_being_given() -> None:
    given = parse(["my.config.yaml"])
    assert worker_command(given)[-1] == "run_dir=runs/my.config"
    assert given.nproc is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("run_dir: out/x", "out/x"),
        ("run_dir: 3", "runs/my.config"),
        ("[]", "runs/my.config"),
        ("a: [", "runs/my.config"),
    ],
)
def test_run_dir_of_the_configuration(config: Path, text: str, expected: str) -> None:
    config.write_text(text)
    assert parse([str(config)]).run_dir == Path(expected)
    assert parse([str(config), "run_dir=mine"]).run_dir == Path("mine")


def test_options_and_settings_may_stand_in_any_order() -> None:
    given = parse(["--grace", "2.5", "my.config.yaml", "a=1", "--nproc", "4", "b=2", "--dry-run"])
    assert (given.nproc, given.grace, given.dry_run) == (4, 2.5, True)
    assert given.overrides == ("a=1", "b=2")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ([], "no configuration file"),
        (["missing.yaml"], "missing.yaml does not exist"),
        (["."], ". is a folder"),
        (["a=1", "my.config.yaml"], "must come first"),
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
    ],
)
def test_mistakes(arguments: list[str], named: str) -> None:
    with pytest.raises(UserError) as raised:
        parse(arguments)
    assert named in str(raised.value)
    assert "\n" not in str(raised.value)


def test_mistake_is_one_line_and_creates_nothing(launch: Launch, tmp_path: Path) -> None:
    ended = launch("missing.yaml", "run_dir=out")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == "error: configuration file missing.yaml does not exist\n"
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
        plan_job(job, Machine(npus=8, cores=(0, 1)))


def test_dry_run_prints_every_process_and_creates_nothing(launch: Launch, tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    ended = launch("my.config.yaml", "nproc=3", "lr=1", "--dry-run", "--master-port", "23456")
    assert (ended.returncode, ended.stderr) == (0, "")
    for expected in ("scheduler", "rank 0", "rank 1", "rank 2", "  MS_SCHED_PORT=23456"):
        assert expected in ended.stdout.splitlines()
    assert ended.stdout.count("-m train my.config.yaml lr=1 run_dir=runs/my.config") == 3
    assert sorted(tmp_path.rglob("*")) == before


def test_starting_loads_neither_mindspore_nor_the_job() -> None:
    program = (
        "import sys, launch.__main__\nprint(*{name.partition('.')[0] for name in sys.modules})\n"
    )
    root = str(Path(__file__).resolve().parents[2])
    ended = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": root},
    )
    loaded = set(ended.stdout.split())
    assert "launch" in loaded
    assert not loaded & {"mindspore", "numpy", "train", "tools", "yaml"}

"""The shell scripts, in a checkout with a space in its path and a stand-in for the training."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.launch.checkout import ON_PAPER, VARIABLES, copy_checkout

SCRIPTS = ["run_standalone.sh", "run_distribute_8p.sh"]

TRAIN = """\
import os, sys
print(*sys.argv[1:], "cwd=" + os.getcwd(), "size=" + os.environ["RANK_SIZE"], sep="|")
"""
TOOLS = """\
import pathlib, sys
assert sys.argv[1:] == ["demo-data"]
pathlib.Path("data/demo/records").mkdir(parents=True)
print("made demo data")
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    configs = {"quickstart.yaml": ON_PAPER}
    return copy_checkout(tmp_path / "check out", configs, train=TRAIN, tools=TOOLS)


def run(
    checkout: Path, script: str, *arguments: str, cwd: Path
) -> "subprocess.CompletedProcess[str]":
    environment = {k: v for k, v in os.environ.items() if not k.startswith("ASCEND")}
    return subprocess.run(
        ["bash", str(checkout / "launch" / script), *arguments],
        cwd=cwd,
        env={**environment, **VARIABLES, "MTLN_PYTHON": sys.executable},
        capture_output=True,
        text=True,
        timeout=60,
    )


def trained_with(ended: "subprocess.CompletedProcess[str]") -> list[str]:
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.splitlines()[-1].split("|")


@pytest.mark.parametrize("script", SCRIPTS)
def test_help(checkout: Path, script: str, tmp_path: Path) -> None:
    ended = run(checkout, script, "--help", cwd=tmp_path)
    assert ended.returncode == 0
    assert ended.stdout.startswith(f"usage: bash launch/{script} [CONFIG]")


def test_quick_start_makes_the_demo_data_once(checkout: Path, tmp_path: Path) -> None:
    first = run(checkout, "run_standalone.sh", "seed=1", cwd=tmp_path)
    assert trained_with(first) == [
        *("configs/quickstart.yaml", "seed=1", "run_dir=runs/quickstart"),
        *(f"cwd={checkout}", "size=1"),
    ]
    assert "made demo data" in first.stdout
    second = run(checkout, "run_standalone.sh", cwd=tmp_path)
    assert second.returncode == 0
    assert "made demo data" not in second.stdout


def test_paths_of_the_user_are_relative_to_the_current_folder(
    checkout: Path, tmp_path: Path
) -> None:
    here = tmp_path / "some where"
    here.mkdir()
    (here / "mine.yaml").write_text(ON_PAPER)
    words = "mine.yaml", "run_dir=my out", "data_root=a b"
    ended = run(checkout, "run_standalone.sh", *words, cwd=here)
    training = [f"{here}/mine.yaml", "data_root=a b", f"run_dir={here}/my out"]
    assert trained_with(ended)[:3] == training
    assert (here / "my out" / "logs" / "attempt_0" / "worker_0.log").exists()
    assert not (checkout / "data").exists()


def test_absolute_paths_and_the_project_folder_itself(checkout: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    ended = run(
        checkout, "run_standalone.sh", "configs/quickstart.yaml", f"run_dir={out}", cwd=checkout
    )
    assert trained_with(ended)[:2] == ["configs/quickstart.yaml", f"run_dir={out}"]
    assert "made demo data" in ended.stdout  # also where the quick start is named


def test_distributed_script_plans_several_ranks(checkout: Path, tmp_path: Path) -> None:
    ended = run(checkout, "run_distribute_8p.sh", "--dry-run", "nproc=3", cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert {"scheduler", "rank 0", "rank 1", "rank 2"} <= set(ended.stdout.splitlines())
    assert not (checkout / "data").exists()


def test_a_tool_needs_no_configuration(checkout: Path, tmp_path: Path) -> None:
    """Nor the data of the quick start, whether they are there or not."""
    tool = "--dry-run", "--tool", "predict", "runs/x", "a=b", "--out", "made"
    ended = run(checkout, "run_distribute_8p.sh", "--nproc", "2", *tool, cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.count("-m tools predict runs/x a=b --out made") == 2
    ended = run(checkout, "run_distribute_8p.sh", "--tool", "predict", "runs/x", cwd=tmp_path)
    assert (ended.returncode, ended.stderr) == (2, "error: --tool predict: --out DIR is missing\n")
    assert not (checkout / "data").exists()


@pytest.mark.parametrize("script", SCRIPTS)
def test_mistakes_are_one_line(checkout: Path, script: str, tmp_path: Path) -> None:
    ended = run(checkout, script, "missing.yaml", cwd=tmp_path)
    assert ended.returncode == 2
    assert ended.stderr == f"error: configuration file {tmp_path}/missing.yaml does not exist\n"


def test_cann_is_sourced_where_it_is_installed(checkout: Path, tmp_path: Path) -> None:
    cann = tmp_path / "set_env.sh"
    cann.write_text('export FROM_CANN="$NOT_SET_BEFORE:yes"\nfalse\n')
    script = checkout / "launch" / "environment.sh"
    script.write_text(script.read_text().replace("/usr/local/Ascend/cann/set_env.sh", str(cann)))
    program = f'set -euo pipefail; source "{script}"; echo "$FROM_CANN"; [[ $- == *eu* ]]'
    for variables, expected in (({}, ":yes\n"), ({"ASCEND_OPP_PATH": "/x"}, "")):
        ended = subprocess.run(
            ["bash", "-c", program],
            env={"PATH": os.environ["PATH"], **variables},
            capture_output=True,
            text=True,
        )
        assert ended.stdout == expected

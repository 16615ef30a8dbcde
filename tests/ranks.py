"""Starts real jobs through the project's launcher."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

Result = subprocess.CompletedProcess[str]

_RUN_JOB = """
import sys
from pathlib import Path
from launch.description import Job
from launch.job import run_job
nproc, run_dir, *command = sys.argv[1:]
sys.exit(run_job(Job([sys.executable, *command], Path(run_dir), int(nproc))))
"""


def run_train(world_size: int, *arguments: object, check: bool = True) -> Result:
    """``python -m launch ARGUMENTS nproc=WORLD_SIZE``."""
    words = ["-m", "launch", *map(str, arguments), f"nproc={world_size}"]
    return _run([sys.executable, *words], check, {})


def run_probe(world_size: int, config: Path, run_dir: Path, graphs: Path) -> Result:
    """A job whose ranks run tests/train/probe.py; MindSpore writes its graphs to a folder."""
    worker = [str(ROOT / "tests/train/probe.py"), str(config), f"run_dir={run_dir}"]
    command = [sys.executable, "-c", _RUN_JOB, str(world_size), str(run_dir), *worker]
    variables = {
        "PYTHONPATH": str(ROOT),
        "MS_DEV_SAVE_GRAPHS": "2",
        "MS_DEV_SAVE_GRAPHS_PATH": str(graphs),
    }
    return _run(command, True, variables)


def _run(command: list[str], check: bool, variables: dict[str, str]) -> Result:
    result = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    if check:
        assert result.returncode == 0, f"{result.stdout}\n{result.stderr}"
    return result

"""Starts real jobs through the project's launcher."""

import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.aliases import Ended
from tests.paths import ROOT

# Real jobs keep their graphs, as users' jobs do.
GRAPHS = ROOT / ".pytest_cache" / "graphs"


_RUN_JOB = """
import sys
from pathlib import Path
from launch.job import Job
from launch.run import run_job
nproc, run_dir, *command = sys.argv[1:]
sys.exit(run_job(Job([sys.executable, *command], Path(run_dir), int(nproc))))
"""


def run_train(
    world_size: int, *arguments: object, check: bool = True, graphs: Path | None = None
) -> Ended:
    """Run ``python -m launch``; ``graphs``: where to put the compiled ones."""
    words = ["-m", "launch", *map(str, arguments), f"nproc={world_size}"]
    return run([sys.executable, *words], check, _saving(graphs))


def run_probe(world_size: int, config: Path, run_dir: Path, graphs: Path) -> Ended:
    """Run a job of ranks of tests/train/probe.py; MindSpore writes its graphs to a folder."""
    worker = [ROOT / "tests/train/probe.py", config, f"run_dir={run_dir}"]
    return run_job(world_size, run_dir, worker, _saving(graphs))


def run_job(
    world_size: int,
    run_dir: Path,
    worker: Sequence[object],
    variables: Mapping[str, str] | None = None,
    check: bool = True,
) -> Ended:
    """Run a job whose ranks are a Python program of the tests: a file and its arguments."""
    command = [sys.executable, "-c", _RUN_JOB, world_size, run_dir, *worker]
    return run(command, check, {"PYTHONPATH": str(ROOT), **(variables or {})})


def _saving(graphs: Path | None) -> dict[str, str]:
    if graphs is None:
        return {}
    return {
        "MS_DEV_SAVE_GRAPHS": "1",
        "MS_DEV_SAVE_GRAPHS_PATH": str(graphs),
        "MS_DEV_DUMP_IR_PASSES": "validate",  # as they are compiled; all passes are a gigabyte
    }


def reductions_of_steps(graphs: Path) -> list[list[int]]:
    """Return for every compiled training step the sizes of its reductions in their order.

    They are all of float32.
    """
    messages = messages_of_steps(graphs)
    assert {kind for step in messages for kind, _ in step} <= {"Float32"}
    return [[size for _, size in step] for step in messages]


def messages_of_steps(graphs: Path) -> list[list[tuple[str, int]]]:
    """Return for every compiled training step type and size of its reductions in their order.

    They are MindSpore's AllReduce, or ours through shared memory.
    """
    steps = [
        text
        for file in graphs.rglob("*_validate_*.ir")
        if re.search("ConvolutionGrad|Conv2DBackprop|convolution_grad", text := file.read_text())
    ]
    reduction = r"= (?:AllReduce\(|Custom\([^\n]*:all_reduce_shared\b)"
    pattern = reduction + r".*?-> \((?:<)?Tensor\[(\w+)\], \((\d+)\)"
    return [[(kind, int(size)) for kind, size in re.findall(pattern, text, re.S)] for text in steps]


def run(command: Sequence[object], check: bool, variables: Mapping[str, str]) -> Ended:
    """Run a command in the project's folder; with ``check`` it must succeed."""
    result = subprocess.run(
        [str(word) for word in command],
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

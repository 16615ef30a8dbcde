"""The quick start through the real script, in a copy of the project, shortened."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.paths import ROOT
from tests.tools.report.html_page import read

PARTS = ("train", "launch", "rank_tables", "tools", "configs")
SHORT = ("schedule.steps=20", "schedule.consolidate_every=10", "evaluate.every=0")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """What the script needs of the project, in a folder with a space in its name."""
    copy = tmp_path / "a project"
    for part in PARTS:
        shutil.copytree(ROOT / part, copy / part, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ROOT.glob("requirements*.txt"):
        shutil.copy(file, copy)
    return copy


@pytest.mark.slow
def test_quick_start(project: Path, tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    settings = ["nproc=2", f"run_dir={run_dir}", *SHORT, "checkpoint.every=0"]
    result = subprocess.run(
        ["bash", str(project / "launch/run_distribute_8p.sh"), *settings],
        cwd=tmp_path,
        env={**os.environ, "MTLN_PYTHON": sys.executable},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert result.returncode == 0, f"{result.stdout}\n{result.stderr}"

    summary = json.loads((run_dir / "summary.json").read_text())
    assert summary["status"] == "completed"
    assert (summary["world_size"], summary["step"], summary["images_seen"]) == (2, 20, 960)
    shapes = {
        task: (len(splits["test"]["per_class"]), splits["test"]["images"])
        for task, splits in summary["tasks"].items()
    }
    assert shapes == {"demo_farmland": (4, 144), "demo_urban": (6, 216), "demo_coast": (5, 180)}
    assert sorted(p.name for p in (run_dir / "checkpoints").iterdir()) == ["step_00000020"]
    logs = [path.read_text() for path in sorted((run_dir / "logs/attempt_0").iterdir())]
    assert len(logs) >= 2 and not any("deprecated" in log for log in logs)

    lines = result.stdout.splitlines()
    assert any(
        line.startswith("step 20/20  loss demo_farmland ") and "images/s" in line for line in lines
    )
    for task, splits in summary["tasks"].items():
        [row] = [line for line in lines if line.startswith(f"│ {task} ")]
        assert f"{100 * splits['test']['accuracy']:.2f} %" in row
    assert lines[-2:] == [f"Run folder: {run_dir}", f"Report: {run_dir}/report.html"]
    times_of_ranks(run_dir, images_per_step=48)


def times_of_ranks(run_dir: Path, images_per_step: int) -> None:
    """Logged at both consolidation points, and in the report."""
    logged = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    ranks = {line["step"]: line for line in logged if line["kind"] == "ranks"}
    assert list(ranks) == [10, 20]
    for step, line in ranks.items():
        assert [0 <= share < 1 for share in line["data_wait"]] == [True, True]
        own, other = line["step_seconds"]
        # An interval's last step is logged too, and the consolidation comes on top.
        [rate] = [
            v["images_per_second"] for v in logged if (v["step"], v["kind"]) == (step, "train")
        ]
        assert own > 0.99 * images_per_step / rate and other > 0.5 * images_per_step / rate
    [table] = read(run_dir / "report.html").id("ranks").all("table")
    seen = [[cell.text for cell in row.all("td")] for row in table.all("tr")][1:]
    for rank, cells in enumerate(seen):
        seconds = [line["step_seconds"][rank] for line in ranks.values()]
        assert cells[:2] == [f"{500 * sum(seconds):,.1f}", f"{1e3 * max(seconds):,.1f}"]
    assert len(seen) == 2


def test_a_mistake_of_the_user_is_one_line(project: Path, tmp_path: Path) -> None:
    """Through script and launcher: no traceback, nothing but the mistake, and nothing is made."""
    result = subprocess.run(
        [
            "bash",
            str(project / "launch/run_distribute_8p.sh"),
            str(project / "configs/quickstart.yaml"),
            "nproc=2",
            f"run_dir={tmp_path / 'run'}",
            "modle.depth=16",
        ],
        cwd=tmp_path,
        env={**os.environ, "MTLN_PYTHON": sys.executable},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 2
    [line] = result.stderr.splitlines()
    assert line.startswith("error: command line: modle: unknown key: did you mean model? (all keys")
    assert not (tmp_path / "run").exists() and not (project / "data").exists()

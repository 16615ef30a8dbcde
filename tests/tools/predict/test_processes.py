"""Any number of processes, kills and later starts: the bytes are those of one process."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.marked import AS_ROOT, needs_open_mpi
from tests.paths import ROOT
from tests.tools.predict.conftest import Originals, Predict
from tests.tools.predict.outputs import content

# Ends the process as kill -9 does, half through its N-th file.
_KILLED = """
import os, signal, sys
from train import files
from tools.predict import work
left, save = int(sys.argv.pop(1)), work.publish
def publish(temporary, path):
    global left
    left -= 1
    if not left:
        temporary.write_bytes(temporary.read_bytes()[:20])
        os.kill(os.getpid(), signal.SIGKILL)
    save(temporary, path)
work.publish = publish
from tools.__main__ import main
sys.exit(main(sys.argv[1:]))
"""


# With the instructions that this process is capped to (see tests/conftest.py): others round
# differently in the last bit.
ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": str(ROOT),
    "ONEDNN_MAX_CPU_ISA": "AVX2",
}


@pytest.fixture
def folder(originals: Originals) -> Path:
    """81 pictures: two chunks."""
    path = Path(originals["fields"][0]["path"]).parents[1]
    assert path.name == "fields"
    return path


@pytest.fixture(scope="module")
def made() -> dict[str, bytes]:
    """What one process has made of two folders, once it has."""
    return {}


@pytest.fixture
def expected(
    predict: Predict, folder: Path, made: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, bytes]:
    """The same, made if need be."""
    if made:
        return made
    out = tmp_path_factory.mktemp("expected") / "out"
    ran = predict(*inputs(folder), "--out", out, "--pictures")
    assert ran.code == 0, ran.err
    made.update(content(out))
    assert len(made) > 150 and len(made["predictions.jsonl"].splitlines()) > 64
    return made


def inputs(folder: Path) -> list[Path]:
    return [folder, folder.with_name("coast")]


def test_ranks_one_after_the_other(
    predict: Predict,
    folder: Path,
    expected: dict[str, bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In any order; only the last one makes the folder. Then nothing is left to do."""
    out = tmp_path / "out"
    monkeypatch.setenv("RANK_SIZE", "3")
    for rank in (2, 0, 1):
        assert not out.exists()
        monkeypatch.setenv("RANK_ID", str(rank))
        ran = predict(*inputs(folder), "--out", out, "--pictures")
        assert ran.code == 0, ran.err
        assert ("has done its share" in ran.out) == (rank != 1)
    assert content(out) == expected
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
    ran = predict(*inputs(folder), "--out", out, "--pictures")
    assert ran.code == 0 and "already there and complete" in ran.out


def test_a_lost_process_is_made_up_for(
    predict: Predict,
    folder: Path,
    expected: dict[str, bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of two processes one came through; one alone goes on, and computes the other half only."""
    out = tmp_path / "out"
    with monkeypatch.context() as variables:
        variables.setenv("RANK_SIZE", "2")
        variables.setenv("RANK_ID", "1")
        assert predict(*inputs(folder), "--out", out, "--pictures").code == 0
    [parts] = tmp_path.glob(".out.*.parts")
    assert [path.name for path in (parts / "chunks").iterdir()] == ["000001"]
    # What was left of other inputs goes in the end.
    (tmp_path / ".out.0123456789abcdef.parts").mkdir()
    ran = predict(*inputs(folder), "--out", out, "--pictures")
    assert ran.code == 0 and "going on with what an earlier start has left: 1 of 2" in ran.out
    assert "64 pictures ..." in ran.err
    assert content(out) == expected
    assert not list(tmp_path.glob(".out*"))


@pytest.mark.slow
def test_killed_at_any_file(
    predict: Predict, trained_run: Path, folder: Path, expected: dict[str, bytes], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    program = tmp_path / "killed.py"
    program.write_text(_KILLED)
    words = [*inputs(folder), "--out", out, "--pictures", "--batch", "4"]
    kills = 0
    for number in (70, 100):
        command = [sys.executable, program, number, "predict", trained_run, *words]
        ran = subprocess.run([*map(str, command)], cwd=ROOT, env=ENVIRONMENT, check=False)
        kills += ran.returncode == -signal.SIGKILL
        assert not out.exists()
    assert kills == 2
    assert predict(*inputs(folder), "--out", out, "--pictures").code == 0
    assert content(out) == expected


@pytest.mark.slow
def test_started_by_the_launcher(
    trained_run: Path, folder: Path, expected: dict[str, bytes], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    command = [sys.executable, "-m", "launch", "--nproc", "2", "--tool", "predict", trained_run]
    words = [*inputs(folder), "--out", out, "--pictures", "--batch", "4"]
    subprocess.run([*map(str, [*command, *words])], cwd=ROOT, env=ENVIRONMENT, check=True)
    assert content(out) == expected
    logs = sorted(path.name for path in tmp_path.glob("out.launch/logs/attempt_0/*"))
    assert logs == ["worker_0.log", "worker_1.log"]


@pytest.mark.slow
@needs_open_mpi
def test_started_by_mpirun(
    trained_run: Path, folder: Path, expected: dict[str, bytes], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    mpirun = ["mpirun", "-n", "2", "--oversubscribe", "--bind-to", "none"]
    command = [*mpirun, sys.executable, "-m", "tools", "predict", trained_run, *inputs(folder)]
    words = ["--out", out, "--pictures", "--batch", "4"]
    subprocess.run(
        [*map(str, [*command, *words])], cwd=ROOT, env={**ENVIRONMENT, **AS_ROOT}, check=True
    )
    assert content(out) == expected

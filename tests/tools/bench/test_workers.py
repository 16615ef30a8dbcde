"""tools bench with real processes: whole rows, failures, interruptions, the PyTorch twin."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from launch.plan.numa import allowed_cores
from tests.marked import Marked
from tests.tools.commands import Outcome
from tools.bench.group import Group, WorkerFailed
from tools.bench.results import Case
from tools.bench.session import Session
from tools.bench.workload import Workload
from train.native import library
from train.temporary import PREFIX

Tools = Callable[..., Outcome]

# An interpreter with torch, if it is not this one.
TORCH_PYTHON = os.environ.get("MTLN_BENCH_PYTHON", sys.executable)
FIRST_CORE = allowed_cores()[0][0]


def has_torch() -> bool:
    if sys.executable == TORCH_PYTHON:
        return importlib.util.find_spec("torch") is not None
    return subprocess.run([TORCH_PYTHON, "-c", "import torch"], check=False).returncode == 0


def has_native_operators() -> bool:
    try:
        library.load()
    except library.NativeUnavailable:
        return False
    return True


def measured(tools: Tools, folder: Path, *words: str) -> tuple[Outcome, dict[str, Any]]:
    """Runs rows quickly; (what was printed, what was written)."""
    file = folder / "bench.json"
    outcome = tools("bench", *words, "--quick", "--json", file)
    tree: dict[str, Any] = json.loads(file.read_text())
    return outcome, tree


def assert_ratios_follow_from_the_rounds(case: dict[str, Any]) -> None:
    for comparison in case["comparisons"]:
        own, other = (case["series"].get(comparison[key]) for key in ("of", "to"))
        if comparison["to"] is not None and other is None:
            assert comparison["result"] is None and comparison["to"] in case["missing"]
            continue
        ratios = [comparison["factor"] * a / b for a, b in zip(own, other, strict=True)]
        assert comparison["rounds"] == ratios
        assert comparison["result"]["low"] == min(ratios)


@pytest.mark.slow
def test_input_row(tools: Tools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # As python -m tools sets it for itself where there are no operators of ours.
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    outcome, tree = measured(tools, tmp_path, "input")
    assert outcome.code == 0, outcome.err
    row = tree["rows"]["input"]
    assert row["failure"] is None
    assert row["settings"] == {"rounds": 1, "seconds": 0.1, "quick": True}
    assert row["moment"].keys() == {"when", "load", "commit", "uncommitted_changes"}
    [case] = row["cases"]
    assert set(case["series"]) | set(case["missing"]) == {
        *("ours", "ours, cache: ram", "PyTorch DataLoader", "ImageFolderDataset")
    }
    assert all(len(values) == 1 and values[0] > 0 for values in case["series"].values())
    assert_ratios_follow_from_the_rounds(case)
    for ranks in case["facts"]["peers"].values():
        [info] = ranks
        assert info["cores"] == [FIRST_CORE]
        assert info["variables"]["OMP_NUM_THREADS"] == "1"
    # A peer must run as its user would run it, and ours prepares itself for MindSpore.
    [folder_dataset] = case["facts"]["peers"]["ImageFolderDataset"]
    assert "ONEDNN_MAX_CPU_ISA" not in folder_dataset["variables"]
    [ours] = case["facts"]["peers"]["ours"]
    assert ("ONEDNN_MAX_CPU_ISA" in ours["variables"]) == (not has_native_operators())
    if "PyTorch DataLoader" in case["missing"]:
        assert "pip install -r requirements-bench.txt" in outcome.out


@pytest.mark.slow
def test_train_row(tools: Tools, tmp_path: Path) -> None:
    outcome, tree = measured(tools, tmp_path, "train", "--python", TORCH_PYTHON)
    assert outcome.code == 0, outcome.err
    [case] = tree["rows"]["train"]["cases"]
    assert_ratios_follow_from_the_rounds(case)
    assert case["facts"]["engines"]["ours"] == "launch"
    ranks = case["facts"]["peers"]["ours"]
    assert [len(info["cores"]) for info in ranks] == [1, 1]
    assert all(info["message_bytes"] > 0 for info in ranks)
    first = case["facts"]["first_losses"]
    assert set(first) == set(case["series"])
    for losses in first.values():
        assert losses == pytest.approx(first["ours"], rel=1e-4)
    assert ("(1) no torch here" in outcome.out) == (not has_torch())


@pytest.mark.skipif(not has_torch(), reason="no torch (MTLN_BENCH_PYTHON=PATH names one)")
@pytest.mark.parametrize("channels_last", [False, True])
def test_twin_computes_what_we_compute(channels_last: bool, tmp_path: Path) -> None:
    # An odd size on every level; the third step's losses tell of gradients and optimizer too.
    work = Workload(16, 1, 26, 3, (3, 5, 4))
    folders = [tmp_path / name for name in ("ours", "twin")]
    for folder in folders:
        folder.mkdir()
    spec = work.spec(weights=str(tmp_path / "weights.npz"))
    with Group("ours", "ours.Trainer", spec, [[FIRST_CORE]], folders[0]) as ours:
        twin = {**spec, "channels_last": channels_last}
        with Group(
            "twin", "torch_twin.Trainer", twin, [[FIRST_CORE]], folders[1], python=TORCH_PYTHON
        ) as group:
            [[expected], [found]] = [[i["losses"] for i in g.info] for g in (ours, group)]
    assert len(found) == 3
    for mine, its in zip(expected, found, strict=True):
        assert its == pytest.approx(mine, rel=1e-4)


def test_worker_that_fails_is_told_by_its_last_line(tmp_path: Path) -> None:
    with pytest.raises(WorkerFailed, match=r"^peer: rank 0 has ended: ModuleNotFoundError: .*nope"):
        Group("peer", "nope.Peer", {}, [[FIRST_CORE]], tmp_path)


def half_a_row(session: Session) -> Iterator[Case]:
    yield Case("first", "s", {"a": [1.0]})
    raise WorkerFailed("peer: it broke")


def test_row_that_fails_keeps_what_it_has(
    tools: Tools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tools.bench.cases_of", lambda name: half_a_row)
    outcome, tree = measured(tools, tmp_path, "train", "tasks")
    assert outcome.code == 1
    assert "not finished: train: peer: it broke" in outcome.err
    for name in ("train", "tasks"):
        assert [case["name"] for case in tree["rows"][name]["cases"]] == ["first"]
        assert tree["rows"][name]["failure"] == "peer: it broke"
    measured(tools, tmp_path, "memory")
    _, tree = measured(tools, tmp_path, "scaling", "--keep")
    assert list(tree["rows"]) == ["scaling", "memory"]


def test_nothing_is_left_of_a_command_that_is_ended(tmp_path: Path) -> None:
    words = ["-m", "tools", "bench", "train", "--quick"]
    marked = Marked([sys.executable, *words], {"TMPDIR": str(tmp_path)})
    try:
        marked.wait_until(lambda: sum(map(is_worker, marked.survivors())) >= 2)
        marked.process.send_signal(signal.SIGTERM)
        assert marked.finish()[0] == 128 + signal.SIGTERM
        marked.assert_all_gone()
        # A worker that is killed leaves its folder for graphs to the next start.
        left = {file.name for file in tmp_path.glob(f"{PREFIX}*/*")}
        assert left <= {"graphs"}
    finally:
        marked.clean_up()


def is_worker(pid: int) -> bool:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return b"tools.bench.worker" in words

"""plan-scale's constants and its comparison with real jobs: on made-up and on committed figures."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.paths import ROOT
from tools.__main__ import main
from tools.plan_scale import machines, page, table_of
from tools.plan_scale.check import check
from tools.plan_scale.fit import fit, fit_link, read
from tools.plan_scale.links import ring
from tools.plan_scale.measure import JOBS, PREDICTED, read_steps
from tools.plan_scale.model import Plan, predict
from tools.plan_scale.network import Network, network_of
from tools.plan_scale.options import with_tasks
from tools.plan_scale.processes import OtherLoad, run
from train.config.schema import Config
from train.errors import UserError

MEASUREMENT = ROOT / "docs" / "runs" / "scale.json"
PAGE = ROOT / "docs" / "scale.md"

# Of the made-up machine: seconds per step and per image, contention, alpha, beta.
PER_STEP, PER_IMAGE, CONTENTION, ALPHA, BETA = 0.01, 0.02, 1.25, 4e-4, 2e-9
MESSAGE = 2_800_000


def reduction(ranks: int, size: float) -> float:
    """A ring, twice as slow where two ranks share a core."""
    return (ranks // 2) * (2 * (ranks - 1) * ALPHA + 2 * (ranks - 1) / ranks * size * BETA)


@pytest.fixture
def measurement() -> dict[str, Any]:
    """What `measure` would find on a machine without noise."""
    jobs = []
    for job in JOBS:
        alone = PER_STEP + PER_IMAGE * 3 * job.images
        seconds = {
            "alone": alone,
            "side by side": alone * CONTENTION,
        }.get(job.kind, alone * CONTENTION * job.ranks / 2 + reduction(job.ranks, MESSAGE))
        repeated = 2 if job.kind == "side by side" else 1
        jobs.append(
            {
                "kind": job.kind,
                "ranks": job.ranks,
                "images_per_task": job.images,
                "tasks": 3,
                "branches": job.branches,
                "bytes_reduced_per_step": MESSAGE,
                "step_seconds": [[seconds] * 5] * repeated,
            }
        )
    bare = [
        {
            "engine": engine,
            "ranks": ranks,
            "seconds": {str(n): [reduction(ranks, n)] * 3 for n in (4, 40_000, 12_000_000)},
        }
        for engine in ("mpi", "launcher")
        for ranks in (2, 4)
    ]
    return {"format": "mtln-scale", "jobs": jobs, "reductions": bare}


def test_fit_finds_the_constants(measurement: dict[str, Any]) -> None:
    constants = fit(measurement)
    assert constants.per_step == pytest.approx(PER_STEP)
    assert constants.per_image == pytest.approx(PER_IMAGE)
    assert constants.contention == pytest.approx(CONTENTION)
    assert constants.links["mpi", 2].alpha == pytest.approx(ALPHA)
    assert constants.links["launcher", 4].beta == pytest.approx(2 * BETA)


def test_check_predicts_every_job(measurement: dict[str, Any]) -> None:
    rows = check(measurement)
    assert [(row.kind, row.ranks) for row in rows] == [
        (job.kind, job.ranks) for job in JOBS if job.images == PREDICTED
    ]
    for row in rows:
        assert row.error == pytest.approx(0, abs=1e-9), row
        assert row.waiting == pytest.approx(0, abs=1e-9)
    assert rows[1].reduction == pytest.approx(reduction(2, MESSAGE))


def test_nothing_is_fitted_on_what_is_predicted(measurement: dict[str, Any]) -> None:
    """Other times of the predicted jobs change the errors, and no prediction."""
    other = copy.deepcopy(measurement)
    for job in other["jobs"]:
        if job["images_per_task"] == PREDICTED:
            job["step_seconds"] = [[3 * s for s in times] for times in job["step_seconds"]]
    assert fit(other) == fit(measurement)
    before, after = ([row.predicted for row in check(m)] for m in (measurement, other))
    assert before == after
    assert all(row.error == pytest.approx(-2 / 3) for row in check(other))


def test_a_link_is_fitted_to_relative_errors() -> None:
    """One outlier among the small messages must not count a thousand times less than a large."""
    sizes = (4, 400, 40_000, 4_000_000, 32_000_000)
    times = {str(n): [4 * 1e-4 + 1.5 * n * 1e-9] for n in sizes}
    link = fit_link(4, times)
    for size, seconds in times.items():
        assert ring(link, 4, 0) == pytest.approx(6 * link.alpha)
        assert ring(link, 4, float(size)) == pytest.approx(seconds[0])


def test_steps_are_read_from_a_run(tmp_path: Path) -> None:
    lines: list[dict[str, Any]] = [
        {"kind": "train", "step": n, "time": 100.0 + n, "images": 24 * n, "images_per_second": rate}
        for n, rate in enumerate([0, 12, 12, 12, 12, 48, 96], start=1)
    ]
    lines.append({"kind": "evaluation", "step": 7, "time": 110.0, "images": 168})
    file = tmp_path / "metrics.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    # The first was compiled, and four more are warm-up.
    assert read_steps(file) == [(106.0, 0.5), (107.0, 0.25)]


def test_programs_run_beside_each_other_on_their_cores(tmp_path: Path) -> None:
    cores = sorted(os.sched_getaffinity(0))[:2]
    show = "import os, sys; open(sys.argv[1], 'w').write(str(sorted(os.sched_getaffinity(0))))"
    files = [tmp_path / f"cores{i}" for i in range(len(cores))]
    run([["-c", show, file] for file in files], [[core] for core in cores], tmp_path)
    assert [file.read_text() for file in files] == [f"[{core}]" for core in cores]


def test_a_program_that_fails_is_named_and_ends_the_others(tmp_path: Path) -> None:
    file = tmp_path / "pid"
    note = f"import os, pathlib; pathlib.Path({str(file)!r}).write_text(str(os.getpid()))"
    sleeps = ["-c", f"{note}; import time; time.sleep(600)"]
    wait = f"import pathlib, time\nwhile not pathlib.Path({str(file)!r}).exists(): time.sleep(0.01)"
    fails = ["-c", f"{wait}\ntime.sleep(0.1)\nprint('why'); raise SystemExit(3)"]
    with pytest.raises(UserError, match=r"SystemExit\(3\): ended with code 3: why"):
        run([fails, sleeps], [[*os.sched_getaffinity(0)]] * 2, tmp_path)
    with pytest.raises(ProcessLookupError):
        os.kill(int(file.read_text()), 0)


def test_own_work_is_not_that_of_other_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    spin = "import time\nwhile time.process_time() < 0.3: pass"
    load = OtherLoad()
    (busy, own), _ = load._now(), subprocess.run([sys.executable, "-c", spin], check=True)
    after_busy, after_own = load._now()
    # The kernel counts in ticks of a hundredth of a second.
    assert after_own - own > 0.28
    assert after_busy - busy > after_own - own - 0.1

    times = iter([(100.0, 50.0), (109.0, 56.0), (109.0, 60.0)])
    monkeypatch.setattr(OtherLoad, "_now", lambda self: next(times))
    clock = iter([0.0, 10.0, 10.0])
    monkeypatch.setattr("tools.plan_scale.processes.time.monotonic", lambda: next(clock))
    load = OtherLoad()
    assert load.cores() == pytest.approx(0.3)  # 9 s busy, 6 of them own, in 10 s
    assert load.cores() == 0


@pytest.fixture(scope="module")
def committed() -> dict[str, Any]:
    _require_measurement()
    return read(MEASUREMENT)


def _require_measurement() -> None:
    if not MEASUREMENT.exists():
        pytest.skip(
            "there is no docs/runs/scale.json yet: plan-scale measure --out docs/runs/scale.json"
        )


def test_model_is_within_a_tenth_of_the_committed_measurement(committed: dict[str, Any]) -> None:
    rows = check(committed)
    assert {row.ranks for row in rows} == {1, 2, 4}
    assert {row.branches for row in rows} == {"local", "allreduce"}
    assert [row for row in rows if abs(row.error) > 0.1] == []


@pytest.mark.parametrize(
    ("words", "rows"),
    [(words, rows) for words, rows in page.tables(PAGE.read_text()) if words != ["exercise"]],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_tables_of_the_page_are_those_of_their_commands(words: list[str], rows: str) -> None:
    if words == ["check"]:
        _require_measurement()
    assert rows.count("\n") > 2
    assert rows == table_of(words) + "\n"


def test_figures_of_the_page_for_the_published_scaling() -> None:
    """Those that tests/tools/test_plan_scale.py computes, in images/s rounded to hundreds."""
    network = Network(25_557_032, 1, 26_560, 4.09e9)
    machine = replace(machines.machine("ascend910"), overhead=0.0)
    plan = Plan(network, tasks=1, datasets=1, images=256, branches="allreduce")
    text = PAGE.read_text(encoding="utf-8")
    for ranks in (8, 16):
        for overlap in (0.0, 1.0):
            speed = predict(replace(plan, overlap=overlap), machine, ranks).images_per_second
            assert f"{round(speed, -2):,.0f}" in text


def test_update_replaces_tables_and_nothing_else(tmp_path: Path) -> None:
    sizes = "shared=7e5,branches=4e5,multiplications=1e8,tasks=3"
    text = f"# Page\n\n<!-- plan-scale {sizes} --devices 8 -->\n| old |\n|---|\n\nEnd | of it.\n"
    file = tmp_path / "page.md"
    file.write_text(text)
    assert main(["plan-scale", "update", "--page", str(file)]) == 0
    once = file.read_text()
    assert table_of([sizes, "--devices", "8"]) in once and "old" not in once
    assert once.startswith("# Page\n\n<!--") and once.endswith("|\n\nEnd | of it.\n")
    assert main(["plan-scale", "update", "--page", str(file)]) == 0
    assert file.read_text() == once


def test_sizes_of_the_committed_measurement_are_those_on_paper(committed: dict[str, Any]) -> None:
    tree = {
        "run_dir": "runs/x",
        "datasets": {"a": {"records": "a"}},
        "tasks": {"a": {"classes": 5}},
        "schedule": {"steps": 1},
        "image": {"size": committed["network"]["size"]},
        "model": committed["network"]["model"],
    }
    network = network_of(with_tasks(Config.model_validate(tree), 3))
    for job in committed["jobs"]:
        assert job["parameters"] == {"shared": network.shared, "tasks": network.branches}
        local = job["branches"] == "local"
        values = network.shared + (0 if local else network.branches)
        expected = 4 * (values + 3 + local) if job["kind"] in ("mpi", "launcher") else 0
        assert job["bytes_reduced_per_step"] == expected

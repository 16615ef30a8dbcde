"""The parts of a job that grow with it, at 8,192 ranks, 1,000 tasks and 10^9 records.

Memory and counts are asserted, never times.
"""

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.scale import exercises
from tests.scale.exercises import Found
from train.data.sampler import split_shares

# Peak resident memory of an exercise's process, Python and numpy included. One number per record
# would be 8,000 MB.
_MEGABYTES = 150

# Its processes are copies of one that has loaded the exercises, and nothing of the tests.
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload([exercises.__name__])


def found(exercise: Callable[..., Found], *arguments: object) -> Found:
    """Runs an exercise in a process of its own, so that its memory is its own."""
    with ProcessPoolExecutor(1, _CONTEXT) as pool:
        result, megabytes = pool.submit(exercises.measured, exercise, *arguments).result()
    assert megabytes < _MEGABYTES
    return result


def test_rank_table_is_generated_merged_and_validated_and_plans_a_job(tmp_path: Path) -> None:
    file = tmp_path / "table.json"
    table = found(exercises.rank_table, file)
    assert table == {"servers": 1024, "ranks": 8192, "violations": 0}
    plan = found(exercises.dry_run, tmp_path, "--rank-table", str(file), "--node-rank", "5")
    assert plan == {"code": 0, "ranks": 8192, "hosts": 1024}


def test_table_of_modelarts_is_converted(tmp_path: Path) -> None:
    assert found(exercises.modelarts_table, tmp_path) == {"servers": 1024, "ranks": 8192}


def test_launcher_plans_a_job_without_a_table(tmp_path: Path) -> None:
    nodes = ("--nnodes", "1024", "--node-rank", "5", "--master", "192.0.2.1", "--nproc", "8")
    plan = found(exercises.dry_run, tmp_path, *nodes)
    assert plan == {"code": 0, "ranks": 8192, "hosts": 1024}


@pytest.mark.slow
def test_launchers_of_all_nodes_meet(tmp_path: Path) -> None:
    """With the usual limit of 1,024 open files, of which node 0 needs one for every other node."""
    assert found(exercises.meeting, tmp_path) == {"nodes": 1024, "open": 1023}


def test_configuration_of_a_thousand_tasks(tmp_path: Path) -> None:
    assert found(exercises.configuration, tmp_path) == {"tasks": 1000, "lines": 1000}


def test_shares_of_the_mixed_batch() -> None:
    assert found(exercises.shares) == {"images": 8_192_000, "datasets": 1000}


def test_plan_of_50_steps_of_a_rank() -> None:
    assert found(exercises.plan) == {"records": 800, "different": 800}


def test_records_of_a_rank_in_evaluation() -> None:
    # Of 10^9 records dealt to 8,192 ranks, this one has the share rounded down.
    assert found(exercises.evaluation) == {"records": 122_070}


def test_manifest_of_ten_thousand_shards(tmp_path: Path) -> None:
    manifest = found(exercises.manifest, tmp_path)
    assert manifest == {"records": 10**9, "shards": 10_000, "last": 10**9}


def one_by_one(images: int, weights: dict[str, float]) -> dict[str, int]:
    """Webster's method as it is defined: each image goes to whoever lags most, the first of many.

    It takes as many rounds as there are images.
    """
    dealt = dict.fromkeys(weights, 1)
    for _ in range(images - len(weights)):
        name = max(weights, key=lambda k: weights[k] / (2 * dealt[k] + 1))
        dealt[name] += 1
    return dealt


@given(
    st.lists(st.integers(1, 10**7), min_size=1, max_size=9),
    st.integers(0, 300),
    st.sampled_from(["equal", "proportional", 2.0, 3.0]),
)
def test_shares_are_those_of_one_image_after_the_other(
    sizes: list[int], more: int, rule: str | float
) -> None:
    records = {f"set{i}": size for i, size in enumerate(sizes)}
    exponent = {"equal": 0.0, "proportional": 1.0}[rule] if isinstance(rule, str) else 1 / rule
    images = len(sizes) + more
    expected = one_by_one(images, {name: float(n) ** exponent for name, n in records.items()})
    shares = rule if isinstance(rule, str) else {"temperature": rule}
    assert split_shares(shares, records, images) == expected

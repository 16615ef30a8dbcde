"""Ranks that mpirun starts on CPU: connected by MPI, with the results of the other engine."""

import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from tests.marked import AS_ROOT, StartMarked, needs_open_mpi
from tests.paths import ROOT
from tests.ranks import run
from tests.train.distributed.mpi_rank import (
    SIZES,
    own_counts,
    own_gradients,
    own_vector,
    spoilt_vector,
)
from tests.train.numpy_half import EPSILON, HALVES, summed
from tests.train.runs import assert_same_bits, assert_same_to_rounding, summary_of
from train.config.sections import Precision

pytestmark = [needs_open_mpi, pytest.mark.cluster, pytest.mark.slow]

PROBE = ROOT / "tests/train/probe.py"
VARIABLES = {**AS_ROOT, "PYTHONPATH": str(ROOT)}


def mpirun(ranks: int, *worker: object) -> Sequence[object]:
    return "mpirun", "-n", ranks, "--oversubscribe", sys.executable, *worker


@pytest.fixture(scope="module")
def probed(start_config: Path) -> Path:
    """The run folder of the probe on two ranks, as a user's own mpirun starts it."""
    run_dir = start_config.parent / "mpi"
    # As many cores for each as the script gives them, so that bits can be compared.
    each = max(1, len(os.sched_getaffinity(0)) // 2)
    place = ("--use-hwthread-cpus", "--map-by", f"slot:PE={each}", "--bind-to", "hwthread")
    probe = (sys.executable, PROBE, start_config, f"run_dir={run_dir}")
    ended = run(("mpirun", "-n", 2, *place, *probe), True, VARIABLES)
    (run_dir / "stdout").write_text(ended.stdout)
    return run_dir


def differing(run: Path, name: str) -> set[str]:
    one, other = (load_file(run / "replicas" / f"{name}_rank{r}.safetensors") for r in range(2))
    return {key for key in one if one[key].tobytes() != other[key].tobytes()}


def is_shared(key: str) -> bool:
    return key.removeprefix("momentum.").startswith("shared.") and "moving_" not in key


@pytest.mark.parametrize("point", range(3))
def test_shared_branch_is_bit_equal_on_all_ranks(probed: Path, point: int) -> None:
    different = differing(probed, f"before_point{point}")
    assert different and not any(map(is_shared, different))
    assert differing(probed, f"after_point{point}") == set()


def test_same_results_as_the_other_engine(probed: Path, launched: Path) -> None:
    """With two ranks a sum is one addition: what may differ is the rounding within a rank."""
    assert_same_to_rounding(launched, probed)
    one, two = summary_of(launched), summary_of(probed)
    assert one["tasks"] == two["tasks"]
    assert one["bytes_reduced_per_step"] == two["bytes_reduced_per_step"] > 0


def test_only_the_first_rank_shows_progress(probed: Path) -> None:
    lines = (probed / "stdout").read_text().splitlines()
    assert [line.split()[1] for line in lines if line.startswith("step 3/")] == ["3/6"]
    assert "\x1b" not in "".join(lines), "mpirun's output only looks like a terminal"


def test_stop_and_resume_by_the_script(
    probed: Path, start_config: Path, start: StartMarked, tmp_path: Path
) -> None:
    """TERM ends all ranks; the same command then goes on as if nothing had happened."""
    run_dir = tmp_path / "run"
    command = ("bash", "launch/run_mpi.sh", start_config, f"run_dir={run_dir}", "nproc=2")
    variables = {"MTLN_PYTHON": sys.executable}
    job = start(*command, variables=variables)
    job.wait_until((run_dir / "checkpoints/step_00000002/state.json").exists)
    job.process.send_signal(signal.SIGTERM)
    code, _, err = job.finish()
    assert code == 128 + signal.SIGTERM, err
    job.assert_all_gone()
    assert not (run_dir / "summary.json").exists()

    out = start(*command, variables=variables).succeed()
    assert out.count("Resuming from") == 1 and "Test accuracy" in out
    assert_same_bits(probed, run_dir)
    for attempt in (0, 1):
        log = run_dir / f"logs/attempt_{attempt}/1/rank.0/stdout"
        assert "step 2/6" in log.read_text() or attempt == 1


FAILS = """
import runpy
from train.trainer import Trainer
consolidate = Trainer._consolidate
def fail(trainer, interval):
    if trainer.cluster.rank == 1:
        raise RuntimeError("told to fail")
    consolidate(trainer, interval)
Trainer._consolidate = fail
runpy.run_module("train", run_name="__main__", alter_sys=True)
"""


def test_a_rank_that_fails_ends_the_job(
    start_config: Path, start: StartMarked, tmp_path: Path
) -> None:
    """Rank 0 waits in a reduction for a rank that never comes; mpirun must end it."""
    worker = ("-c", FAILS, start_config, f"run_dir={tmp_path / 'run'}")
    job = start(*mpirun(2, *worker), variables=AS_ROOT)
    code, _, err = job.finish()
    assert code == 1
    assert err.count("RuntimeError: told to fail") == 1
    job.assert_all_gone()


def test_a_mistake_of_all_ranks_is_told_once(start: StartMarked, tmp_path: Path) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text(json.dumps({"datasets": {}, "modle": {}}))
    code, _, err = start(*mpirun(2, "-m", "train", path), variables=AS_ROOT).finish()
    assert code == 2
    told = [line for line in err.splitlines() if line.startswith("error: ")]
    assert told and len(set(told)) == len(told) and "Traceback" not in err


def test_a_mistake_of_one_rank_is_told(start: StartMarked) -> None:
    """Two programs in one job, the second with a configuration that is not there."""
    train = (sys.executable, "-m", "train")
    worker = (
        "mpirun",
        "--oversubscribe",
        "-n",
        1,
        sys.executable,
        "-c",
        "import time; time.sleep(60)",
    )
    job = start(*worker, ":", "-n", 1, *train, "missing.yaml", variables=AS_ROOT)
    code, _, err = job.finish()
    assert code == 2
    assert "error: configuration file missing.yaml does not exist" in err
    job.assert_all_gone()


def test_library_of_another_mpi(start_config: Path, start: StartMarked, tmp_path: Path) -> None:
    """An mpirun whose variables say two ranks, and a library that knows nothing of it."""
    names = zip(("RANK", "SIZE", "LOCAL_RANK"), "020", strict=True)
    variables = {f"OMPI_COMM_WORLD_{name}": value for name, value in names}
    worker = ("-m", "train", start_config, f"run_dir={tmp_path / 'run'}")
    code, _, err = start(sys.executable, *worker, variables=variables).finish()
    assert code == 2
    assert "error: mpirun: it says rank 0 of 2, but the library that mpi4py loads (Open MPI" in err
    assert not (tmp_path / "run").exists()


@pytest.fixture(scope="module")
def collected(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, np.ndarray]]:
    """What three ranks got of the collectives."""
    folder = tmp_path_factory.mktemp("collectives")
    run(mpirun(3, ROOT / "tests/train/distributed/mpi_rank.py", folder), True, VARIABLES)
    return [dict(np.load(folder / f"rank{rank}.npz")) for rank in range(3)]


@pytest.mark.parametrize("size", SIZES)
def test_vectors_over_three_ranks(collected: list[dict[str, np.ndarray]], size: int) -> None:
    own = [own_vector(rank, size) for rank in range(3)]
    total = np.sum(own, axis=0, dtype=np.float64)
    # Two additions, each off by at most half a unit in the last place of what it adds.
    bound = 2 * np.finfo(np.float32).eps * np.abs(own).sum(axis=0, dtype=np.float64)
    for result in collected:
        assert (np.abs(result[f"sum_{size}"] - total) <= bound).all()
        assert (np.abs(3.0 * result[f"mean_{size}"] - total) <= 2 * bound).all()
        assert (result[f"broadcast_{size}"] == own[0]).all()
    for name in ("sum", "mean"):
        assert len({result[f"{name}_{size}"].tobytes() for result in collected}) == 1


@pytest.mark.parametrize("precision", HALVES)
@pytest.mark.parametrize("operator", ["native", "python"])
def test_sums_in_16_bits(
    collected: list[dict[str, np.ndarray]], operator: str, precision: Precision
) -> None:
    """Terms and sum are rounded, and nothing in between: bit for bit what numpy says."""
    for name in (*SIZES[:-1], "spoilt"):
        own = [spoilt_vector(r) if name == "spoilt" else own_vector(r, int(name)) for r in range(3)]
        expected = summed(own, precision)
        for result in collected:
            np.testing.assert_array_equal(result[f"{operator}_{precision}_{name}"], expected)


def test_what_is_spoilt_stays_so() -> None:
    """The cases of the test before are those that it is about."""
    sums = {p: summed([spoilt_vector(r) for r in range(3)], p) for p in HALVES}
    for found in sums.values():
        assert np.isnan(found[[0, 1, 2, 6]]).all() and np.isposinf(found[[3, 4, 5, 8]]).all()
    assert np.isposinf(sums["float16"][7]) and np.isfinite(sums["bfloat16"][7])


@pytest.mark.parametrize("precision", ["float32", *HALVES])
def test_buckets_change_nothing(collected: list[dict[str, np.ndarray]], precision: str) -> None:
    own = [own_gradients(rank) for rank in range(3)]
    exact = np.mean([np.concatenate([g.ravel() for g in rank]) for rank in own], axis=0)
    for result in collected:
        one, several = (result[f"gradient_{precision}_{bucket}"] for bucket in (0, 500))
        assert one.shape == exact.shape and np.abs(one - exact).max() < 0.05
        if precision == "float32":  # how MPI orders three terms depends on the size of a message
            np.testing.assert_allclose(several, one, atol=1e-6)
        else:
            assert several.tobytes() == one.tobytes()
        for bucket in (0, 500):
            tail = result[f"tail_{precision}_{bucket}"]
            np.testing.assert_allclose(tail, [1 / 3, 1 + 1e-3], rtol=1e-6)


def shared_weights(run: Path, step: int) -> np.ndarray:
    model = load_file(run / f"checkpoints/step_{step:08d}/model.safetensors")
    names = sorted(k for k in model if k.startswith("shared.") and k.endswith("weight"))
    return np.concatenate([model[name].ravel() for name in names])


def test_a_job_with_16_bits_on_the_wire(
    probed: Path, start_config: Path, start: StartMarked, tmp_path: Path
) -> None:
    """Half the bytes for the gradient, in as many messages as are wanted; and it trains alike."""
    run_dir = tmp_path / "run"
    wire = "reduction={precision: bfloat16, bucket_mb: 0.02}"
    command = ("bash", "launch/run_mpi.sh", start_config, f"run_dir={run_dir}", "nproc=2", wire)
    start(*command, variables={"MTLN_PYTHON": sys.executable}).succeed()
    summary = summary_of(run_dir)
    assert summary["bytes_reduced_per_step"] == 2 * summary["parameters"]["shared"] + 4 * (2 + 1)
    way = shared_weights(probed, 6) - shared_weights(probed, 2)
    off = shared_weights(run_dir, 6) - shared_weights(probed, 6)
    # Terms and sum of every gradient are rounded; a few steps multiply that by a few.
    assert 0 < np.linalg.norm(off) < 10 * 2 * EPSILON["bfloat16"] * np.linalg.norm(way)


def test_counts_are_exact(collected: list[dict[str, np.ndarray]]) -> None:
    total = np.sum([own_counts(rank) for rank in range(3)], axis=0)
    assert total[0, 1] % 2 == 1 and total[1, 1] % 2 == 1  # no float holds them
    for result in collected:
        assert result["counts"].tolist() == total.tolist()
        assert result["yes"].tolist() == [1]

"""Ranks that have come apart are found at the next consolidation point."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from mindspore import Parameter, Tensor

from tests.ranks import run_job
from tests.train.thread_ranks import Threads, on_ranks
from train.step.replicas import ReplicaCheck, ReplicasDiffer, _digest

# A rank of a normal job in which rank 1 loses a bit of the shared branch in the second interval.
_WORKER = """
import os, sys
from mindspore import Tensor
from train import __main__
from train.trainer import Trainer

train = Trainer._train

def train_and_lose_a_bit(self, interval, batches):
    train(self, interval, batches)
    if interval.first == 2 and self.cluster.rank == 1:
        weight = next(p for p in self.network.get_parameters() if p.name == sys.argv[1])
        values = weight.asnumpy().copy()
        values.reshape(-1).view("uint32")[3] ^= 1
        weight.set_data(Tensor(values))

Trainer._train = train_and_lose_a_bit
sys.exit(__main__.main(sys.argv[2:]))
"""
WEIGHT = "shared.trunk.stem.weight"


@pytest.mark.slow
def test_a_bit_that_turns_over_on_one_rank_ends_the_job(start_config: Path, tmp_path: Path) -> None:
    """The last checkpoint of the run is that of the point before."""
    worker = tmp_path / "worker.py"
    worker.write_text(_WORKER)
    run_dir = tmp_path / "run"
    ended = run_job(2, run_dir, [worker, WEIGHT, start_config, f"run_dir={run_dir}"], check=False)
    assert ended.returncode == 1
    text = f"the ranks hold different models after step 4, in {WEIGHT}. This is not saved"
    assert text in ended.stderr
    steps = [path.name for path in (run_dir / "checkpoints").iterdir()]
    assert steps == ["step_00000002"]
    lines = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    assert max(line["step"] for line in lines) <= 4


def differences(world_size: int, changes: Mapping[int, Sequence[str]]) -> list[str | None]:
    """What every rank says, where some parameters of some ranks have a bit off."""

    def check(rank: int, ranks: Threads) -> str | None:
        rng = np.random.default_rng(0)
        shapes = {"a": (3, 5), "b": (7,), "c": (), "d": (2,), "e": (1,)}
        parameters = []
        for name, shape in shapes.items():
            values = rng.normal(size=shape).astype(np.float32)
            if name in changes.get(rank, ()):
                values.reshape(-1).view(np.uint32)[-1] ^= 1 << 7
            parameters.append(Parameter(Tensor(values), name=name))
        try:
            held = [parameter.asnumpy() for parameter in parameters]
            ReplicaCheck(parameters, ranks, rank).require_equal(40, held)
        except ReplicasDiffer as error:
            return str(error).partition(". This")[0]
        return None

    return on_ranks(world_size, check)


def test_who_differs_in_what() -> None:
    """Every rank says the same, and no rank is blamed where it cannot be known which is right."""
    says = "the ranks hold different models after step 40, "
    assert differences(3, {}) == [None] * 3
    assert differences(3, {1: "b"}) == [says + "in b: only rank 1 differs"] * 3
    assert differences(2, {1: "b"}) == [says + "in b"] * 2
    assert (
        differences(5, {0: "a", 4: "abcde"})
        == [says + "in a, b, c and 2 more: only ranks 0, 4 differ"] * 5
    )
    assert differences(4, {0: "c", 1: "c"}) == [says + "in c"] * 4


def test_values_that_change_places_are_seen() -> None:
    values = np.array([[1.5, -2.0], [3.0, 4.0]], np.float32)
    assert _digest(values) != _digest(values.T) and _digest(values) == _digest(values.copy("F"))
    assert _digest(np.ones(3, np.float16)) != _digest(np.ones(3, bool))

"""The messages of a step: which, in what order, of how many bytes; and nothing else changes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mindspore import Tensor, nn

from tests.ranks import reductions_of_steps, run_train
from tests.train.networks import (
    CLASSES,
    TASKS,
    make_scene_batch,
    make_scene_network,
    make_step,
    values,
)
from tests.train.runs import assert_same_bits, summary_of
from train import build
from train.config.reader import load_config
from train.data.manifest import open_record_sets
from train.model.mtln import split_by_branch
from train.optim.loss_balance import FAMO
from train.optim.optimizers import scalar
from train.optim.update import Flatten
from train.step.reduction import Exchange, Reduction, cut_into_buckets
from train.step.train_step import StepOptions
from train.tasks.base import resolve_tasks

pytestmark = pytest.mark.slow


class Recorder(nn.Cell):
    """The sum over two ranks that have the same numbers; keeps what it was given."""

    def __init__(self, value_bytes: int, messages: list[tuple[int, np.ndarray]]) -> None:
        super().__init__()
        self.value_bytes = value_bytes
        self.messages = messages

    def construct(self, vector: Tensor) -> Tensor:
        self.messages.append((self.value_bytes, vector.asnumpy().copy()))
        return vector * 2


def recorded(in_half: bool, bucket_bytes: int = 0) -> tuple[Exchange, list[Any]]:
    messages: list[tuple[int, np.ndarray]] = []
    half = Recorder(2, messages) if in_half else None
    return Exchange(2, Recorder(4, messages), half, bucket_bytes), messages


@given(st.lists(st.integers(1, 50), min_size=1, max_size=40), st.integers(0, 120))
@settings(max_examples=200, deadline=None, derandomize=True, database=None)
def test_buckets(sizes: list[int], limit: int) -> None:
    """Every parameter once, the last first; as many as fit, and no more but a single one."""
    buckets = cut_into_buckets(sizes, limit)
    covered = [i for begin, end in reversed(buckets) for i in range(begin, end)]
    assert covered == list(range(len(sizes)))
    filled = [sum(sizes[begin:end]) for begin, end in buckets]
    if limit == 0:
        assert len(buckets) == 1
        return
    for i, (begin, end) in enumerate(buckets):
        assert filled[i] <= limit or end - begin == 1
        assert begin == 0 or filled[i] + sizes[begin - 1] > limit  # one more would not have fitted


GRADIENTS = [np.arange(6.0).reshape(2, 3) - 9, np.full(4, 3.0), np.arange(5.0), np.ones((1, 2)) / 3]
TAIL = np.array([7.0, 8.0])


@pytest.mark.parametrize(
    ("in_half", "bucket_bytes", "expected"),
    [
        (False, 0, [(4, [0, 1, 2, 3], True)]),
        (False, 28, [(4, [2, 3], False), (4, [1], False), (4, [0], True)]),
        (True, 0, [(2, [0, 1, 2, 3], False), (4, [], True)]),
        (True, 22, [(2, [1, 2, 3], False), (2, [0], False), (4, [], True)]),
    ],
)
def test_messages(
    eager: None, in_half: bool, bucket_bytes: int, expected: list[tuple[int, list[int], bool]]
) -> None:
    exchange, messages = recorded(in_half, bucket_bytes)
    reduction = Reduction(exchange, [g.size for g in GRADIENTS], TAIL.size, Flatten())
    gradients = [Tensor(g.astype(np.float32)) for g in GRADIENTS]
    gradient, tail = reduction(gradients, Tensor(TAIL.astype(np.float32)))
    np.testing.assert_array_equal(
        gradient.asnumpy(), np.concatenate([g.ravel() for g in GRADIENTS]).astype(np.float32)
    )
    np.testing.assert_array_equal(tail.asnumpy(), TAIL)
    assert len(messages) == len(expected)
    for (size, message), (value_bytes, parts, has_tail) in zip(messages, expected, strict=True):
        wanted = [GRADIENTS[i].ravel() for i in parts] + [TAIL] * has_tail
        assert size == value_bytes
        np.testing.assert_array_equal(message, np.concatenate(wanted).astype(np.float32))
    assert reduction.message_bytes == sum(size * message.size for size, message in messages)


@pytest.mark.parametrize("local", [True, False])
@pytest.mark.parametrize("in_half", [True, False])
@pytest.mark.parametrize("bucket_bytes", [0, 30_000])
def test_bytes_of_a_step(eager: None, local: bool, in_half: bool, bucket_bytes: int) -> None:
    """What a step says that it reduces is what it reduces, and it is that of a rank alone."""
    exchange, messages = recorded(in_half, bucket_bytes)
    found = []
    for own in (exchange, Exchange()):
        network = make_scene_network("group")
        shared, branches = split_by_branch(network)
        step = make_step(
            network,
            list(CLASSES),
            TASKS,
            balance=FAMO(3, 0.1, 0.0),
            exchange=own,
            options=StepOptions(local, clip_norm=1.0),
        )
        result = step(scalar(0.1), *make_scene_batch()).asnumpy()
        found.append((result, values(network), step.bytes_reduced))
    reduced = shared if local else shared + branches
    gradient = sum(p.size for p in reduced) * (2 if in_half else 4)
    # Losses before and after the update; losses and norm with the gradient.
    assert found[0][2] == gradient + 4 * (3 + 3 + 3 + local)
    assert found[0][2] == sum(size * message.size for size, message in messages)
    assert len(messages) > 10 if bucket_bytes else len(messages) == 3 + in_half
    assert found[1][2] == 0
    np.testing.assert_array_equal(found[0][0], found[1][0])
    for name, value in found[1][1].items():
        np.testing.assert_array_equal(found[0][1][name], value, err_msg=name)


@pytest.fixture(scope="module")
def in_buckets(start_config: Path) -> Path:
    """The same two ranks as `launched`, with small messages."""
    run_dir = start_config.parent / "buckets"
    graphs = start_config.parent / "graphs_of_buckets"
    run_train(2, start_config, f"run_dir={run_dir}", "reduction.bucket_mb=0.02", graphs=graphs)
    return run_dir


@pytest.mark.cluster
def test_buckets_give_the_same_bits(in_buckets: Path, launched: Path) -> None:
    assert_same_bits(launched, in_buckets)
    one, two = summary_of(launched), summary_of(in_buckets)
    assert one["bytes_reduced_per_step"] == two["bytes_reduced_per_step"]


@pytest.mark.cluster
def test_messages_of_the_compiled_step(in_buckets: Path, start_config: Path) -> None:
    """The buckets from the last layer to the first, the tail behind the last one."""
    config = load_config(in_buckets / "config.yaml")
    sets = open_record_sets(config)
    network = build.build_network(config, sets, resolve_tasks(config, sets))
    sizes = [parameter.size for parameter in split_by_branch(network)[0]]
    expected = [sum(sizes[b:e]) for b, e in cut_into_buckets(sizes, 5000)]
    assert len(expected) >= 4
    expected[-1] += 2 + 1
    found = reductions_of_steps(start_config.parent / "graphs_of_buckets")
    assert found == [expected] * 2

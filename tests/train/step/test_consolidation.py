"""What the ranks make of their replicas: each vector of the optimizer its own mean, in its place.

Of real ranks, with SGD: tests/train/step/test_replicas.py.
"""

import numpy as np
import pytest
from mindspore import Tensor

from tests.train.networks import make_scene_network, trainable, values
from tests.train.thread_ranks import Threads, on_ranks
from train.distributed.collectives import Collectives, Floats, OneProcess
from train.model.mtln import MTLN, is_shared, is_trunk
from train.optim.optimizers import SGD, AdamW, FlatOptimizer, decay_of, split
from train.step.consolidation import Consolidator

Arrays = dict[str, Floats]


def make(slots: list[str], rank: int) -> tuple[MTLN, FlatOptimizer]:
    """A network and its optimizer, no two numbers of which are alike."""
    network = make_scene_network()
    decay = decay_of(trainable(network), 0.1)
    adamw = len(slots) == 2
    optimizer = AdamW(decay, 0.9, 0.99, 1e-6) if adamw else SGD(decay, 0.9, nesterov=True)
    assert list(optimizer.slots) == slots
    rng = np.random.default_rng(rank)
    for parameter in [*network.get_parameters(), *optimizer.slots.values()]:
        parameter.set_data(Tensor(rng.random(parameter.shape, np.float32)))
    return network, optimizer


def contents(network: MTLN, optimizer: FlatOptimizer) -> Arrays:
    """Parameters by name; slots by "slot/name"."""
    arrays, parameters = values(network), trainable(network)
    for slot, vector in optimizer.slots.items():
        parts = split(vector.asnumpy().copy(), parameters)
        arrays |= {f"{slot}/{p.name}": x for p, x in zip(parameters, parts, strict=True)}
    return arrays


def consolidated(
    slots: list[str], ranks: Collectives, rank: int, local_branches: bool
) -> tuple[Arrays, Arrays]:
    """What a rank has before and after a consolidation point."""
    network, optimizer = make(slots, rank)
    before = contents(network, optimizer)
    Consolidator(network, optimizer, ranks, local_branches).consolidate()
    return before, contents(network, optimizer)


@pytest.mark.parametrize("local_branches", [True, False])
@pytest.mark.parametrize("slots", [["momentum"], ["mean", "square"]], ids=["sgd", "adamw"])
def test_branches_statistics_and_every_slot(slots: list[str], local_branches: bool) -> None:
    def work(rank: int, ranks: Threads) -> tuple[Arrays, Arrays]:
        return consolidated(slots, ranks, rank, local_branches)

    results = on_ranks(3, work)
    before = [first for first, _ in results]
    for own, after in results:
        for name, value in after.items():
            mean = np.mean([b[name] for b in before], axis=0)
            if name.endswith("moving_variance"):
                means = [b[name.replace("variance", "mean")] for b in before]
                mean = mean + np.var(means, axis=0)
            elif not name.endswith("moving_mean") and (
                not local_branches or is_shared(name.split("/")[-1])
            ):
                mean = own[name]
            np.testing.assert_allclose(value, mean, rtol=1e-5, err_msg=name)


def test_the_statistics_of_a_frozen_trunk_are_left_alone() -> None:
    """They are the same on all ranks, and their mean would not always be, to the last bit."""

    def work(rank: int, ranks: Threads) -> tuple[Arrays, Arrays]:
        network, optimizer = make(["momentum"], rank)
        before = contents(network, optimizer)
        Consolidator(network, optimizer, ranks, True).consolidate(frozen_trunk=True)
        return before, contents(network, optimizer)

    for before, after in on_ranks(3, work):
        statistics = [name for name in before if name.split(".")[-1].startswith("moving_")]
        left = {name for name in statistics if (before[name] == after[name]).all()}
        assert left == {name for name in statistics if is_trunk(name)}
        assert 0 < len(left) < len(statistics)


def test_one_rank_stays_as_it_is() -> None:
    before, after = consolidated(["mean", "square"], OneProcess(), 0, local_branches=True)
    assert all((after[name] == value).all() for name, value in before.items())

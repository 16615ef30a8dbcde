"""All that a run has learned, on its way to the other ranks and through a checkpoint."""

from dataclasses import replace

import numpy as np
import pytest
from mindspore import Parameter, Tensor

from tests.train.networks import make_scene_network, trainable, values
from train.distributed.collectives import Floats, OneProcess
from train.optim.ema import ModelAverage
from train.optim.loss_balance import DynamicWeightAverage
from train.optim.loss_scale import LossScale
from train.optim.optimizers import AdamW, by_name, decay_of, pack
from train.run.state import TrainingState


class FirstRank(OneProcess):
    """Gives this rank what rank 0 has: all of it one more."""

    world_size = 2

    def broadcast(self, vector: Floats) -> Floats:
        return vector + 1


class Learned:
    """All kinds of things that a run learns, no two numbers of which are alike."""

    def __init__(self, seed: int) -> None:
        self.network = make_scene_network()
        self.optimizer = AdamW(decay_of(trainable(self.network), 0.0), 0.9, 0.99, 1e-6)
        self.balance = DynamicWeightAverage(3, 1.0)
        self.scale = LossScale()
        self.average = ModelAverage(self.network, 0.9)
        self.state = TrainingState(
            self.network, self.optimizer, self.balance, self.average, self.scale
        )
        self.parts: list[dict[str, Parameter]] = [
            {p.name: p for p in self.network.get_parameters()},
            self.optimizer.slots,
            self.optimizer.counters,
            self.balance.state,
            self.scale.state,
        ]
        rng = np.random.default_rng(seed)
        for part in self.parts:
            for parameter in part.values():
                parameter.set_data(Tensor(rng.random(parameter.shape, np.float32)))
        self.average.values = rng.random(self.average.values.size, np.float32)

    def now(self) -> dict[str, Floats]:
        arrays = {n: p.asnumpy().copy() for part in self.parts for n, p in part.items()}
        return {**arrays, "average of all": self.average.values.copy()}


def assert_equal(one: dict[str, Floats], other: dict[str, Floats]) -> None:
    assert one.keys() == other.keys() and len(one) > 20
    for name, value in one.items():
        np.testing.assert_array_equal(value, other[name], err_msg=name)


def test_all_ranks_get_what_the_first_has() -> None:
    learned = Learned(0)
    before = learned.now()
    learned.state.broadcast(FirstRank())
    assert_equal(learned.now(), {name: value + 1 for name, value in before.items()})


def test_a_checkpoint_holds_all_and_gives_it_back() -> None:
    saved, loaded = Learned(0), Learned(1)
    saved.state.read()
    checkpoint = saved.state.to_checkpoint(7, {"note": "x"})
    assert checkpoint.step == 7 and checkpoint.state == {"note": "x"}
    assert_equal(checkpoint.model, values(saved.network))
    assert_equal(checkpoint.average, by_name(saved.average.values, saved.average.parameters))
    slots = {f"{slot}.{p.name}" for slot in ("mean", "square") for p in trainable(saved.network)}
    balance = {f"balance.{name}" for name in ("weights", "sums", "steps", "previous")}
    others = {"optimizer.updates", "loss_scale.factor", "loss_scale.good_steps"}
    assert checkpoint.optimizer.keys() == slots | balance | others
    assert {v.dtype for v in checkpoint.optimizer.values()} == {np.dtype(np.float32)}
    loaded.state.load(checkpoint)
    assert_equal(loaded.now(), saved.now())


def test_what_is_to_be_saved_stays_what_it_was_while_training_goes_on() -> None:
    """On a CPU numpy looks into the parameters' own memory."""
    learned = Learned(0)
    state, average = learned.state, learned.average
    held = state.read()
    checkpoint = state.to_checkpoint(4, {})
    files = {**checkpoint.model, **checkpoint.optimizer}
    before = {name: value.copy() for name, value in files.items()}
    for parameter in state.everything:
        parameter.asnumpy()[...] += 1
    average.update(4, 8, [np.ones(p.shape, np.float32) for p in average.parameters])
    assert (held[0] == before[state.everything[0].name] + 1).all()
    for name, value in files.items():
        np.testing.assert_array_equal(value, before[name], err_msg=name)
    assert not (checkpoint.average["shared.trunk.stem.weight"] == 1).any()
    assert state.num_bytes >= checkpoint.num_bytes > 0


def test_a_checkpoint_of_an_optimizer_that_did_not_count_its_updates() -> None:
    saved, loaded = Learned(0), Learned(1)
    saved.state.read()
    checkpoint = saved.state.to_checkpoint(7, {})
    old = {name: v for name, v in checkpoint.optimizer.items() if name != "optimizer.updates"}
    loaded.state.load(replace(checkpoint, optimizer=old))
    assert_equal(loaded.now(), {**saved.now(), "updates": np.full(1, 7, np.float32)})


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_named_whatever_it_is(value: float) -> None:
    learned = Learned(0)
    learned.state.read()
    assert learned.state.not_finite() == []
    for part in learned.parts:
        parameter = list(part.values())[-1]
        whole = parameter.asnumpy().copy()
        spoilt = whole.copy()
        spoilt.reshape(-1)[-1] = value
        parameter.set_data(Tensor(spoilt))
        learned.state.read()
        assert learned.state.not_finite() == [parameter.name]
        parameter.set_data(Tensor(whole))


def test_what_a_checkpoint_takes_on_the_disk() -> None:
    learned = Learned(0)
    total = sum(value.size for value in learned.now().values())
    assert learned.state.num_bytes == 4 * total
    assert pack(learned.state.everything).size + learned.average.values.size == total

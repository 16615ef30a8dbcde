"""What a run has learned, on its way to the other ranks."""

import numpy as np

from tests.train.networks import make_scene_network, values
from train.distributed.collectives import Floats, OneProcess
from train.optim.ema import ModelAverage
from train.optim.loss_balance import Balance
from train.optim.loss_scale import FIRST, LossScale
from train.optim.optimizers import SGD, decay_of
from train.run.state import TrainingState


def test_what_is_to_be_saved_stays_what_it_was_while_training_goes_on(eager: None) -> None:
    """On a CPU numpy looks into the parameters' own memory."""
    network = make_scene_network("batch")
    optimizer = SGD(decay_of(network.trainable_params(), 0.0), 0.9, nesterov=True)
    scale, average = LossScale(), ModelAverage(network, 0.5)
    state = TrainingState(network, optimizer, Balance(3), average, scale)
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


class FirstRank(OneProcess):
    """Gives this rank what rank 0 has: all of it one more."""

    world_size = 2

    def broadcast(self, vector: Floats) -> Floats:
        return vector + 1


def test_all_ranks_get_the_loss_scale_of_the_first(eager: None) -> None:
    network, scale = make_scene_network("group"), LossScale()
    optimizer = SGD(decay_of(network.trainable_params(), 0.0), 0.9, nesterov=True)
    before = values(network)
    state = TrainingState(network, optimizer, Balance(3), ModelAverage(network, 0), scale)
    state.broadcast(FirstRank())
    assert scale.current() == FIRST + 1 and scale.good_steps.asnumpy() == 1
    assert (optimizer.momentum.asnumpy() == 1).all()
    for name, value in values(network).items():
        np.testing.assert_array_equal(value, before[name] + 1, err_msg=name)

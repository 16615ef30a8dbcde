"""The moving average of the model against numpy."""

import contextlib

import mindspore as ms
import numpy as np
from mindspore import nn

from train.optim.ema import ModelAverage
from train.optim.optimizers import pack, unpack

DECAY = 0.9


def test_it_follows_the_model_at_consolidation_points() -> None:
    ms.set_seed(1)
    network = nn.SequentialCell([nn.Dense(3, 2), nn.BatchNorm1d(2)])
    parameters = list(network.get_parameters())
    average = ModelAverage(network, DECAY)
    rng = np.random.default_rng(0)
    expected = np.zeros(0)
    for first, last in ((0, 4), (4, 8), (8, 9)):
        model = rng.normal(size=sum(p.size for p in parameters)).astype(np.float32)
        unpack(model, parameters)
        average.update(first, last, [p.asnumpy() for p in parameters])
        keep = DECAY ** (last - first)
        expected = model if first == 0 else keep * expected + (1 - keep) * model
    np.testing.assert_allclose(average.values, expected, rtol=1e-6)

    # An evaluation may fail, or be told to stop.
    with contextlib.suppress(KeyboardInterrupt), average.in_place():
        np.testing.assert_array_equal(pack(parameters), average.values)
        raise KeyboardInterrupt
    np.testing.assert_array_equal(pack(parameters), model)

    arrays = average.to_arrays()
    assert {name: a.shape for name, a in arrays.items()} == {p.name: p.shape for p in parameters}
    other = ModelAverage(network, DECAY)
    other.load(arrays)
    np.testing.assert_array_equal(other.values, average.values)


def test_without_a_decay_there_is_none() -> None:
    network = nn.Dense(3, 2)
    average = ModelAverage(network, 0.0)
    before = pack(list(network.get_parameters()))
    average.update(0, 5, [])
    assert average.to_arrays() == {}
    with average.in_place():
        np.testing.assert_array_equal(pack(list(network.get_parameters())), before)

"""Ranks that have come apart are found; in real runs the drill tries it (tests/tools/drill)."""

from collections.abc import Mapping, Sequence

import numpy as np
from mindspore import Parameter, Tensor

from tests.train.thread_ranks import Threads, on_ranks
from train.step.replicas import ReplicaCheck, ReplicasDiffer, _digest


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

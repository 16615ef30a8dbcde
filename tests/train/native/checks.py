"""What the results of native operators are compared by."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from tests.train.native_calls import Array, code

Arrays = Array | Sequence[Array]


def assert_in_graph(net: Any, loss: float, gradients: Sequence[Array], tolerance: float) -> None:
    """Compile a cell without inputs; compare its result and the gradients of its parameters."""
    import mindspore as ms

    actual, found = ms.jit(ms.value_and_grad(net, None, net.trainable_params()))()
    assert float(actual) == pytest.approx(loss, rel=1e-5)
    assert_close([gradient.asnumpy() for gradient in found], gradients, tolerance)


def assert_refused(
    name: str, inputs: Sequence[Array], outputs: Sequence[Array], capfd: pytest.CaptureFixture[str]
) -> str:
    """Inputs that do not fit must be told in one line, which is returned."""
    assert code(name, inputs, outputs) != 0
    message = capfd.readouterr().err
    assert message.count("\n") == 1 and f"native operator {name}: " in message
    return message


def assert_close(actual: Arrays, expected: Arrays, tolerance: float) -> None:
    """Differences must be at most ``tolerance``, relative to the largest expected value.

    Or to 1, about the size of the terms of a sum: those of a small one may cancel out. Each of
    several arrays has its own largest value.
    """
    for one, other in _pairs(actual, expected):
        assert one.shape == other.shape
        scale = np.abs(other).max(initial=1.0)
        assert np.abs(one - other).max(initial=0.0) <= tolerance * scale


def assert_equal(actual: Arrays, expected: Arrays) -> None:
    """All values must be the same."""
    assert all((one == other).all() for one, other in _pairs(actual, expected))


def assert_alike(actual: Arrays, expected: Arrays) -> None:
    """NaN and infinities must be where they are expected, and nowhere else."""
    for one, other in _pairs(actual, expected):
        for kind in (np.isnan, np.isposinf, np.isneginf):
            assert (kind(one) == kind(other)).all()


def assert_at_least_alike(actual: Array, expected: Array) -> None:
    """What is expected to be NaN or infinite must be one of them; most other values are finite."""
    assert not np.isfinite(actual[~np.isfinite(expected)]).any()
    assert np.isfinite(actual).any()


def _pairs(actual: Arrays, expected: Arrays) -> list[tuple[Array, Array]]:
    if isinstance(expected, np.ndarray):
        assert isinstance(actual, np.ndarray)
        return [(actual, expected)]
    return list(zip(actual, expected, strict=True))

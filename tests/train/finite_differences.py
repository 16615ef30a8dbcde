"""A gradient against differences of the loss."""

from collections.abc import Callable, Iterable, Mapping

import numpy as np
import pytest
from mindspore import Parameter, Tensor

SHIFT = 1e-2


def assert_gradient(
    parameters: Mapping[str, Parameter],
    gradient: Mapping[str, np.ndarray],
    names: Iterable[str],
    loss: Callable[[], float],
) -> None:
    """Along the gradient the loss must rise by its norm; a wrong direction rises less."""
    for name in names:
        parameter, start = parameters[name], parameters[name].asnumpy().copy()
        norm = np.linalg.norm(gradient[name])
        losses = []
        for shift in (SHIFT, -SHIFT):
            parameter.set_data(Tensor(start + shift * gradient[name] / norm))
            losses.append(loss())
        parameter.set_data(Tensor(start))
        assert (losses[0] - losses[1]) / (2 * SHIFT) == pytest.approx(norm, rel=0.02), name

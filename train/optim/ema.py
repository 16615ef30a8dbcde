"""Exponential moving average of the model (Polyak and Juditsky, SIAM J. Control Optim. 30, 1992).

It is taken at consolidation points: there the model is one, so the average is the same on all
ranks, has the merged batch-norm statistics in it too, and costs a training step nothing.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import numpy as np
from mindspore import Parameter, nn

from train.optim.optimizers import Floats, by_name, flat, pack, unpack


class ModelAverage:
    """The average of a network's parameters and statistics.

    Args:
        network: The network.
        decay: Weight of the past per step; 0 for no average, which is the model itself then.
    """

    def __init__(self, network: nn.Cell, decay: float) -> None:
        self.decay = decay
        self.parameters: list[Parameter] = list(network.get_parameters()) if decay else []
        self.values = pack(self.parameters) if decay else np.zeros(0, np.float32)

    def update(self, first: int, last: int, model: Iterable[Floats]) -> None:
        """Take in the model as it is after the steps [first, last): its parameters' values."""
        if not self.decay:
            return
        # What the model was before the first step is noise.
        keep = np.float32(self.decay ** (last - first) if first > 0 else 0.0)
        self.values = keep * self.values + (1 - keep) * np.concatenate(
            [values.ravel() for values in model]
        )

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Put the average in the place of the model for a while."""
        if not self.decay:
            yield
            return
        model = pack(self.parameters)
        unpack(self.values, self.parameters)
        try:
            yield
        finally:
            unpack(model, self.parameters)

    def to_arrays(self) -> dict[str, Floats]:
        """Return the average by parameter name; empty if there is none."""
        return by_name(self.values, self.parameters)

    def load(self, arrays: dict[str, Floats]) -> None:
        """Take over what :meth:`to_arrays` gave."""
        if self.decay:
            self.values = flat(arrays, self.parameters)

"""What the step does with many parameters at once, inside the compiled graph.

:mod:`train.native.update` has the same cells as one operator each.

Shape: P = values of all parameters together.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from mindspore import Parameter, ParameterTuple, Tensor, nn, ops

from train.optim.optimizers import FlatOptimizer, rates_of, state_parameter

_MOST_PARTS = 100


class Flatten(nn.Cell):
    """Concatenates tensors of any shape into one vector."""

    def __init__(self) -> None:
        super().__init__()
        self.map = ops.Map()
        self.concat = ops.Concat(0)

    def construct(self, tensors: Sequence[Tensor]) -> Tensor:
        """Tensors -> (P,)."""
        return self.concat(self.map(_ravel, tensors))


class _Each(nn.Cell):
    """Does something with every parameter and its part of a vector."""

    def __init__(self, what: Callable[..., Any], parameters: Sequence[Parameter]) -> None:
        super().__init__(auto_prefix=False)
        # Cut in two goes: of some 250 parts one exceeds MindSpore's limit of the call depth.
        groups = [parameters[i : i + _MOST_PARTS] for i in range(0, len(parameters), _MOST_PARTS)]
        self.groups = tuple(ParameterTuple(group) for group in groups)
        self.sizes = tuple(tuple(p.size for p in group) for group in groups)
        self.sums = tuple(sum(sizes) for sizes in self.sizes)
        self.split = ops.auto_generate.SplitWithSize()
        self.map = ops.Map()
        self.what = what

    def construct(self, vector: Tensor) -> None:
        """Use the values (P,), parameter after parameter."""
        parts = self.split(vector, self.sums, 0)
        for group, sizes, part in zip(self.groups, self.sizes, parts):  # noqa: B905
            self.map(self.what, group, self.split(part, sizes, 0))


class Subtract(nn.Cell):
    """Subtracts a flat vector from parameters of any shape."""

    def __init__(self, parameters: Sequence[Parameter]) -> None:
        super().__init__(auto_prefix=False)
        self.each = _Each(_subtract, parameters)

    def construct(self, change: Tensor) -> None:
        """Subtract the change of all values, parameter after parameter: (P,)."""
        self.each(change)


class Restore(nn.Cell):
    """Gives parameters of any shape back the values that they had before a step."""

    def __init__(self, parameters: Sequence[Parameter]) -> None:
        super().__init__(auto_prefix=False)
        self.parameters = ParameterTuple(parameters)
        self.flatten = Flatten()
        self.each = _Each(_assign, parameters)

    def construct(self, kept: Tensor, finite: Tensor) -> None:
        """Give the values (P,) back unless the step counts: ``finite``, a bool scalar."""
        # By selection, not by a difference: what is kept may come back from an infinity.
        self.each(ops.where(finite, self.flatten(self.parameters), kept))


class Update(nn.Cell):
    """Updates parameters with an optimizer over all their values.

    Args:
        optimizer: The optimizer.
        parameters: The parameters, in the order of its values.
        flatten: See :class:`Flatten`.
        subtract: See :class:`Subtract`, for these parameters.
        frozen: Whether the trunk, and what the optimizer knows of it, stay as they are.
    """

    def __init__(
        self,
        optimizer: FlatOptimizer,
        parameters: Sequence[Parameter],
        flatten: nn.Cell,
        subtract: nn.Cell,
        frozen: bool = False,
    ) -> None:
        super().__init__(auto_prefix=False)
        self.optimizer = optimizer
        self.parameters = ParameterTuple(parameters)
        self.flatten = flatten
        self.subtract = subtract
        self.frozen = frozen
        self.scales = optimizer.trunk.rate != 1.0
        count = sum(p.size for p in parameters)
        if self.scales:
            self.factors = state_parameter("factors", rates_of(optimizer, count))
        if frozen:
            is_live = np.arange(count) >= optimizer.trunk.size
            self.live = Parameter(Tensor(is_live), name="live", requires_grad=False)

    def construct(self, gradient: Tensor, factor: Tensor, finite: Tensor, rate: Tensor) -> None:
        """Make one update with the gradient (P,) times ``factor``, a scalar.

        If ``finite`` is false, everything stays as it is. See :class:`FlatOptimizer` for the rest.
        """
        values = self.flatten(self.parameters)
        if self.scales:
            rate = rate * self.factors
        if self.frozen:
            finite = ops.logical_and(finite, self.live)
        change = self.optimizer(values, gradient * factor, finite, rate)
        self.subtract(change)


def _ravel(tensor: Tensor) -> Tensor:
    return tensor.reshape((-1,))


def _subtract(parameter: Parameter, own: Tensor) -> Tensor:
    return ops.assign_sub(parameter, own.reshape(parameter.shape))


def _assign(parameter: Parameter, own: Tensor) -> Tensor:
    return ops.assign(parameter, own.reshape(parameter.shape))

"""Many tensors as one flat vector, inside the compiled step, and the update by such a vector."""

import itertools
from collections.abc import Sequence

from mindspore import Parameter, ParameterTuple, Tensor, nn, ops

from train.optim.optimizers import FlatOptimizer


class Flatten(nn.Cell):
    """Concatenates tensors of any shape into one vector."""

    def __init__(self) -> None:
        super().__init__()
        self.map = ops.Map()
        self.concat = ops.Concat(0)

    def construct(self, tensors: Sequence[Tensor]) -> Tensor:
        """Tensors -> (sum of their sizes,)."""
        return self.concat(self.map(_ravel, tensors))


class Subtract(nn.Cell):
    """Subtracts a flat vector from parameters of any shape."""

    def __init__(self, parameters: Sequence[Parameter]) -> None:
        super().__init__(auto_prefix=False)
        self.parameters = ParameterTuple(parameters)
        self.sizes = tuple(p.size for p in parameters)
        self.begins = tuple(itertools.accumulate(self.sizes, initial=0))[:-1]
        self.map = ops.Map()

    def construct(self, change: Tensor) -> None:
        """Change of all values, one parameter after the other: (sum of their sizes,)."""
        # Not mint.split: of some 250 parts it exceeds MindSpore's limit of the call depth.
        self.map(ops.partial(_subtract, change), self.parameters, self.begins, self.sizes)


class Update(nn.Cell):
    """Updates parameters with an optimizer over all their values.

    Args:
        optimizer: The optimizer.
        parameters: The parameters, in the order of its values.
        flatten: See :class:`Flatten`.
        subtract: See :class:`Subtract`, for these parameters.
    """

    def __init__(
        self,
        optimizer: FlatOptimizer,
        parameters: Sequence[Parameter],
        flatten: nn.Cell,
        subtract: nn.Cell,
    ) -> None:
        super().__init__(auto_prefix=False)
        self.optimizer = optimizer
        self.parameters = ParameterTuple(parameters)
        self.flatten = flatten
        self.subtract = subtract

    def construct(
        self, gradient: Tensor, factor: Tensor, finite: Tensor, rate: Tensor, number: Tensor
    ) -> None:
        """One update.

        Args:
            gradient: Of all values, (P,).
            factor: What the gradient is multiplied by, scalar.
            finite: bool scalar; if false, everything stays as it is.
            rate: Learning rate, scalar.
            number: Number of this update, from 1, scalar float.
        """
        values = self.flatten(self.parameters)
        change = self.optimizer(values, gradient * factor, finite, rate, number)
        self.subtract(change)


_slice = ops.Slice()


def _ravel(tensor: Tensor) -> Tensor:
    return tensor.reshape((-1,))


def _subtract(change: Tensor, parameter: Parameter, begin: int, size: int) -> Tensor:
    own = _slice(change, (begin,), (size,))
    return ops.assign_sub(parameter, own.reshape(parameter.shape))

"""What the step does with all parameters at once, each in one operator.

Shape: P = values of all parameters.
"""

from collections.abc import Sequence

import mindspore as ms
import numpy as np
from mindspore import Parameter, ParameterTuple, Tensor, nn

from train.native.operators import operator, options


class Flatten(nn.Cell):
    """Concatenation of tensors of any shape to one vector."""

    def __init__(self) -> None:
        super().__init__()
        self.flatten = operator(
            "flatten", lambda shapes: (sum(int(np.prod(shape)) for shape in shapes),)
        )

    def construct(self, tensors: Sequence[Tensor]) -> Tensor:
        """Tensors -> (sum of their sizes,)."""
        return self.flatten(tensors)


class Subtract(nn.Cell):
    """Subtraction of a flat vector from parameters of any shape."""

    def __init__(self, parameters: Sequence[Parameter]) -> None:
        super().__init__(auto_prefix=False)
        self.parameters = ParameterTuple(parameters)
        self.subtract = operator("subtract", lambda *_: (1,), written=(False, True))

    def construct(self, change: Tensor) -> Tensor:
        """Subtract the change of all values, parameter after parameter: (P,)."""
        return self.subtract(change, self.parameters)


class Restore(nn.Cell):
    """Gives parameters of any shape back the values that they had before a step."""

    def __init__(self, parameters: Sequence[Parameter]) -> None:
        super().__init__(auto_prefix=False)
        self.parameters = ParameterTuple(parameters)
        self.restore = operator("restore", lambda *_: (1,), written=(False, False, True))

    def construct(self, kept: Tensor, finite: Tensor) -> Tensor:
        """Give the values (P,) back unless the step counts: ``finite``, a bool scalar."""
        return self.restore(kept, finite.astype(ms.float32), self.parameters)


class SGDUpdate(nn.Cell):
    """Momentum SGD with weight decay, in one pass over memory: m = mu m + g, w -= rate m.

    Args:
        parameters: The parameters, in the order of their values in the vectors.
        decay: Weight decay of every value (P,).
        momentum: m (P,).
        mu: Momentum in [0, 1).
        nesterov: Whether to look ahead.
    """

    def __init__(
        self,
        parameters: Sequence[Parameter],
        decay: Parameter,
        momentum: Parameter,
        mu: float,
        nesterov: bool,
    ) -> None:
        super().__init__(auto_prefix=False)
        self.parameters = ParameterTuple(parameters)
        self.decay, self.momentum = decay, momentum
        self.mu = Tensor(np.float32(mu))
        self.own_options = options(int(nesterov))
        written = (*(False,) * 6, True, True, False)
        self.sgd = operator("sgd", lambda *_: (1,), written=written)

    def construct(self, gradient: Tensor, factor: Tensor, finite: Tensor, rate: Tensor) -> Tensor:
        """Update by ``gradient`` (P,) times ``factor``, at a learning rate, if it is ``finite``.

        All but the gradient are scalars.
        """
        scalars = factor, rate, finite.astype(ms.float32), self.mu
        written = self.momentum, self.parameters
        return self.sgd(gradient, *scalars, self.decay, *written, self.own_options)

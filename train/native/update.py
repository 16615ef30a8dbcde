"""What the step does with all parameters at once, each in one operator."""

from collections.abc import Sequence

import mindspore as ms
import numpy as np
from mindspore import Parameter, ParameterTuple, Tensor, nn

from train.native.operators import operator, options
from train.optim.optimizers import SGD


class Flatten(nn.Cell):
    """As :class:`train.optim.vectors.Flatten`."""

    def __init__(self) -> None:
        super().__init__()
        self.flatten = operator("flatten", lambda shapes: (_size(shapes),))

    def construct(self, tensors: Sequence[Tensor]) -> Tensor:
        """Tensors -> (sum of their sizes,)."""
        return self.flatten(tensors)


class Subtract(nn.Cell):
    """As :class:`train.optim.vectors.Subtract`."""

    def __init__(self, parameters: Sequence[Parameter]) -> None:
        super().__init__(auto_prefix=False)
        self.parameters = ParameterTuple(parameters)
        self.subtract = operator("subtract", lambda *_: (1,), written=(False, True))

    def construct(self, change: Tensor) -> Tensor:
        """Change of all values, one parameter after the other: (sum of their sizes,)."""
        return self.subtract(change, self.parameters)


class SGDUpdate(nn.Cell):
    """As :class:`train.optim.optimizers.Update` with SGD, in one pass over memory."""

    def __init__(self, optimizer: SGD, parameters: Sequence[Parameter]) -> None:
        super().__init__(auto_prefix=False)
        self.optimizer = optimizer
        self.parameters = ParameterTuple(parameters)
        self.momentum = Tensor(np.float32(optimizer.mu))
        self.own_options = options(int(optimizer.nesterov))
        written = (*(False,) * 6, True, True, False)
        self.sgd = operator("sgd", lambda *_: (1,), written=written)

    def construct(
        self, gradient: Tensor, factor: Tensor, finite: Tensor, rate: Tensor, number: Tensor
    ) -> Tensor:
        """See :class:`train.optim.optimizers.Update`."""
        return self.sgd(
            gradient,
            factor,
            rate,
            finite.astype(ms.float32),
            self.momentum,
            self.optimizer.decay,
            self.optimizer.momentum,
            self.parameters,
            self.own_options,
        )


def _size(shapes: Sequence[Sequence[int]]) -> int:
    return sum(int(np.prod(shape)) for shape in shapes)

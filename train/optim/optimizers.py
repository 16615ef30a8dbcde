"""Optimizers over one flat vector of parameters.

One vector instead of a tensor per parameter: a handful of large operators in the compiled step
instead of some hundreds of small ones, and the same vector the reduction needs anyway.

Shape: P = number of trainable values of the network.
"""

from collections.abc import Sequence
from typing import Literal

import mindspore as ms
import numpy as np
from mindspore import Parameter, ParameterTuple, Tensor, nn, ops

from train.optim.vectors import Floats

OptimizerName = Literal["sgd", "adamw"]


class FlatOptimizer(nn.Cell):
    """Base of the optimizers: turns a gradient into the change of the parameters.

    Attributes:
        slots: State vectors (P,) by name; they are saved in checkpoints and averaged over the
            ranks where the parameters are.
    """

    slots: dict[str, Parameter]

    def construct(
        self, values: Tensor, gradient: Tensor, finite: Tensor, rate: Tensor, number: Tensor
    ) -> Tensor:
        """Return what must be subtracted from the parameters (P,), zero where ``finite`` is false.

        Args:
            values: Parameters (P,).
            gradient: Their gradient (P,).
            finite: bool scalar; if false, the state stays as it is too.
            rate: Learning rate, scalar.
            number: Number of this update, from 1, scalar float.
        """
        raise NotImplementedError

    def _slot(self, name: str, size: int) -> Parameter:
        return Parameter(Tensor(np.zeros(size, np.float32)), name=name, requires_grad=False)


class SGD(FlatOptimizer):
    """Momentum SGD, optionally Nesterov's, with weight decay added to the gradient.

    The update of Sutskever et al., ICML 2013, as PyTorch and MindSpore write it:
    ``m = momentum * m + g; w -= rate * (g + momentum * m)``, or ``rate * m`` without Nesterov.

    Args:
        decay: Weight decay of every value (P,).
        momentum: Momentum in [0, 1).
        nesterov: Whether to look ahead.
    """

    def __init__(self, decay: Floats, momentum: float, nesterov: bool) -> None:
        super().__init__()
        self.decay = Parameter(Tensor(decay), name="decay", requires_grad=False)
        self.momentum = self._slot("momentum", decay.size)
        self.slots = {"momentum": self.momentum}
        self.mu = momentum
        self.nesterov = nesterov

    def construct(
        self, values: Tensor, gradient: Tensor, finite: Tensor, rate: Tensor, number: Tensor
    ) -> Tensor:
        """See the base class."""
        gradient = gradient + self.decay * values
        momentum = self.mu * self.momentum + gradient
        change = gradient + self.mu * momentum if self.nesterov else momentum
        ops.assign(self.momentum, ops.where(finite, momentum, self.momentum))
        return ops.where(finite, rate * change, ops.zeros_like(change))


class AdamW(FlatOptimizer):
    """Adam with decoupled weight decay (Loshchilov and Hutter, ICLR 2019).

    Args:
        decay: Weight decay of every value (P,).
        beta1: Decay of the mean of the gradient.
        beta2: Decay of the mean of its square.
        epsilon: Added to the root of the latter.
    """

    def __init__(self, decay: Floats, beta1: float, beta2: float, epsilon: float) -> None:
        super().__init__()
        self.decay = Parameter(Tensor(decay), name="decay", requires_grad=False)
        self.mean = self._slot("mean", decay.size)
        self.square = self._slot("square", decay.size)
        self.slots = {"mean": self.mean, "square": self.square}
        self.beta1, self.beta2, self.epsilon = beta1, beta2, epsilon

    def construct(
        self, values: Tensor, gradient: Tensor, finite: Tensor, rate: Tensor, number: Tensor
    ) -> Tensor:
        """See the base class."""
        mean = self.beta1 * self.mean + (1 - self.beta1) * gradient
        square = self.beta2 * self.square + (1 - self.beta2) * gradient * gradient
        unbiased_mean = mean / (1 - ops.pow(self.beta1, number))
        unbiased_square = square / (1 - ops.pow(self.beta2, number))
        change = unbiased_mean / (ops.sqrt(unbiased_square) + self.epsilon) + self.decay * values
        ops.assign(self.mean, ops.where(finite, mean, self.mean))
        ops.assign(self.square, ops.where(finite, square, self.square))
        return ops.where(finite, rate * change, ops.zeros_like(change))


class Update(nn.Cell):
    """Updates parameters with an optimizer over all their values.

    Args:
        optimizer: The optimizer.
        parameters: The parameters, in the order of its values.
        flatten: See :class:`train.optim.vectors.Flatten`.
        subtract: See :class:`train.optim.vectors.Subtract`, for these parameters.
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
        """Make one update.

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


def decay_of(parameters: list[Parameter], weight_decay: float) -> Floats:
    """Return the weight decay of every value (P,): none on biases and the scales of norms."""
    parts = [np.full(p.size, weight_decay if p.ndim > 1 else 0.0, np.float32) for p in parameters]
    return np.concatenate(parts)


def scalar(value: float) -> Tensor:
    """Return a float32 scalar that may change from call to call without a new compilation."""
    return Tensor(value, ms.float32)

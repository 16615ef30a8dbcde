"""Optimizers over one flat vector of parameters, on the host and inside the compiled step.

One vector instead of a tensor per parameter: a handful of large operators in the compiled step
instead of some hundreds of small ones, and the same vector the reduction needs anyway.

Shape: P = number of trainable values of the network.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import mindspore as ms
import numpy as np
import numpy.typing as npt
from mindspore import Parameter, Tensor, nn, ops

Floats = npt.NDArray[np.float32]


def pack(parameters: Iterable[Parameter]) -> Floats:
    """Return the values of the parameters, one after the other, as a float32 vector."""
    parts = [p.asnumpy().ravel() for p in parameters]
    return np.concatenate(parts).astype(np.float32) if parts else np.zeros(0, np.float32)


def unpack(vector: Floats, parameters: Sequence[Parameter]) -> None:
    """Set the parameters from such a vector."""
    for parameter, values in zip(parameters, split(vector, parameters), strict=True):
        parameter.set_data(Tensor(values))


def split(vector: Floats, parameters: Sequence[Parameter]) -> list[Floats]:
    """Cut a flat vector into arrays of the shapes of the parameters."""
    ends = np.cumsum([p.size for p in parameters])
    parts = np.split(vector, ends[:-1]) if len(parameters) else []
    return [part.reshape(p.shape) for part, p in zip(parts, parameters, strict=True)]


def by_name(vector: Floats, parameters: Sequence[Parameter]) -> dict[str, Floats]:
    """Cut a flat vector into arrays of the parameters' shapes, by the names of these."""
    named = zip(parameters, split(vector, parameters), strict=True)
    return {p.name: np.ascontiguousarray(values) for p, values in named}


def flat(arrays: Mapping[str, Floats], parameters: Iterable[Parameter], prefix: str = "") -> Floats:
    """Return as one vector the arrays that have the names of the parameters behind a prefix."""
    return np.concatenate([arrays[f"{prefix}{p.name}"].ravel() for p in parameters])


def state_parameter(name: str, values: Floats) -> Parameter:
    """Return a parameter that no gradient changes, which is what optimizers and the like learn."""
    return Parameter(Tensor(values), name=name, requires_grad=False)


@dataclass(frozen=True)
class TrunkOptions:
    """How the trunk, whose values are the first ones, is updated in another way than the rest.

    Attributes:
        size: Number of its values.
        rate: Factor of its learning rate.
        thaws: Whether it is frozen at first, so that it has had fewer updates than the rest.
    """

    size: int = 0
    rate: float = 1.0
    thaws: bool = False


class FlatOptimizer(nn.Cell):
    """Base of the optimizers: turns a gradient into the change of the parameters.

    Args:
        trunk: What is different for the trunk.

    Attributes:
        slots: State vectors (P,) by name; they are saved in checkpoints and averaged over the
            ranks where the parameters are.
        counters: Other state (1,) by name, the same on all ranks; saved in checkpoints too.
    """

    slots: dict[str, Parameter]

    def __init__(self, trunk: TrunkOptions | None = None) -> None:
        super().__init__()
        self.trunk = trunk or TrunkOptions()
        self.counters: dict[str, Parameter] = {}

    def construct(self, values: Tensor, gradient: Tensor, finite: Tensor, rate: Tensor) -> Tensor:
        """Return what must be subtracted from the parameters (P,), zero where ``finite`` is false.

        Args:
            values: Parameters (P,).
            gradient: Their gradient (P,).
            finite: bool, scalar or (P,); where it is false, the state stays as it is too.
            rate: Learning rate, scalar or (P,).
        """
        raise NotImplementedError


class SGD(FlatOptimizer):
    """Momentum SGD, optionally Nesterov's, with weight decay added to the gradient.

    The update of Sutskever et al., ICML 2013, as PyTorch and MindSpore write it:
    ``m = momentum * m + g; w -= rate * (g + momentum * m)``, or ``rate * m`` without Nesterov.

    Args:
        decay: Weight decay of every value (P,).
        momentum: Momentum in [0, 1).
        nesterov: Whether to look ahead.
        trunk: See the base class.
    """

    def __init__(
        self, decay: Floats, momentum: float, nesterov: bool, trunk: TrunkOptions | None = None
    ) -> None:
        super().__init__(trunk)
        self.decay = state_parameter("decay", decay)
        self.momentum = state_parameter("momentum", np.zeros_like(decay))
        self.slots = {"momentum": self.momentum}
        self.mu = momentum
        self.nesterov = nesterov

    def construct(self, values: Tensor, gradient: Tensor, finite: Tensor, rate: Tensor) -> Tensor:
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
        trunk: See the base class.
    """

    def __init__(
        self,
        decay: Floats,
        beta1: float,
        beta2: float,
        epsilon: float,
        trunk: TrunkOptions | None = None,
    ) -> None:
        super().__init__(trunk)
        self.decay = state_parameter("decay", decay)
        self.mean = state_parameter("mean", np.zeros_like(decay))
        self.square = state_parameter("square", np.zeros_like(decay))
        self.slots = {"mean": self.mean, "square": self.square}
        # Not the number of the step: one that is skipped is no update. Of a trunk that thaws later,
        # and of the rest, or the trunk's first steps would be three times too large.
        self.thaws = self.trunk.thaws
        self.updates = state_parameter("updates", np.zeros(1 + self.thaws, np.float32))
        self.is_trunk = Tensor(np.arange(len(decay) if self.thaws else 1) < self.trunk.size)
        self.counters = {"updates": self.updates}
        self.beta1, self.beta2, self.epsilon = beta1, beta2, epsilon

    def construct(self, values: Tensor, gradient: Tensor, finite: Tensor, rate: Tensor) -> Tensor:
        """See the base class."""
        number = self.updates + 1.0
        mean = self.beta1 * self.mean + (1 - self.beta1) * gradient
        square = self.beta2 * self.square + (1 - self.beta2) * gradient * gradient
        unbiased_mean = mean / self._of_values(1 - ops.pow(self.beta1, number))
        unbiased_square = square / self._of_values(1 - ops.pow(self.beta2, number))
        change = unbiased_mean / (ops.sqrt(unbiased_square) + self.epsilon) + self.decay * values
        ops.assign(self.mean, ops.where(finite, mean, self.mean))
        ops.assign(self.square, ops.where(finite, square, self.square))
        updated = self._of_parts(finite)
        ops.assign(self.updates, ops.where(updated, number, self.updates))
        return ops.where(finite, rate * change, ops.zeros_like(change))

    def _of_values(self, parts: Tensor) -> Tensor:
        """Return for every value (P,) what belongs to its part: the trunk, the rest."""
        return ops.where(self.is_trunk, parts[0], parts[1]) if self.thaws else parts

    def _of_parts(self, finite: Tensor) -> Tensor:
        """Return what is true of the first value, the trunk's, and of the last one."""
        return ops.concat((finite[:1], finite[-1:])) if finite.ndim else finite


def decay_of(parameters: list[Parameter], weight_decay: float) -> Floats:
    """Return the weight decay of every value (P,): none on biases and the scales of norms."""
    parts = [np.full(p.size, weight_decay if p.ndim > 1 else 0.0, np.float32) for p in parameters]
    return np.concatenate(parts)


def rates_of(optimizer: FlatOptimizer, count: int) -> Floats:
    """Return the factor of the learning rate of every value (``count``,)."""
    factors = np.ones(count, np.float32)
    factors[: optimizer.trunk.size] = optimizer.trunk.rate
    return factors


def scalar(value: float) -> Tensor:
    """Return a float32 scalar that may change from call to call without a new compilation."""
    return Tensor(value, ms.float32)

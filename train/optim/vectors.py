"""Parameters and gradients as one flat vector: on the host, and inside the compiled step."""

import itertools
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
from mindspore import Parameter, ParameterTuple, Tensor, nn, ops

Floats = npt.NDArray[np.float32]

_slice = ops.Slice()


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


def _ravel(tensor: Tensor) -> Tensor:
    return tensor.reshape((-1,))


def _subtract(change: Tensor, parameter: Parameter, begin: int, size: int) -> Tensor:
    own = _slice(change, (begin,), (size,))
    return ops.assign_sub(parameter, own.reshape(parameter.shape))

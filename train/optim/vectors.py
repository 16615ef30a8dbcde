"""Parameters as one flat vector on the host, and back."""

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
from mindspore import Parameter, Tensor

Floats = npt.NDArray[np.float32]


def pack(parameters: Iterable[Parameter]) -> Floats:
    """The values of the parameters, one after the other, as a float32 vector."""
    parts = [p.asnumpy().ravel() for p in parameters]
    return np.concatenate(parts).astype(np.float32) if parts else np.zeros(0, np.float32)


def unpack(vector: Floats, parameters: Sequence[Parameter]) -> None:
    """Sets the parameters from such a vector."""
    for parameter, values in zip(parameters, split(vector, parameters), strict=True):
        parameter.set_data(Tensor(values))


def split(vector: Floats, parameters: Sequence[Parameter]) -> list[Floats]:
    """Cuts a flat vector into arrays of the shapes of the parameters."""
    ends = np.cumsum([p.size for p in parameters])
    parts = np.split(vector, ends[:-1]) if len(parameters) else []
    return [part.reshape(p.shape) for part, p in zip(parts, parameters, strict=True)]

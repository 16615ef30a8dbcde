"""Updates all parameters with one operator."""

from collections.abc import Sequence

from mindspore import Parameter, ParameterTuple, Tensor, nn

from train.native.operators import operator


class Subtract(nn.Cell):
    """As :class:`train.flat.Subtract`."""

    def __init__(self, parameters: Sequence[Parameter]) -> None:
        super().__init__(auto_prefix=False)
        self.parameters = ParameterTuple(parameters)
        written = (False, *(True for _ in parameters))
        self.subtract = operator("mtln_subtract", lambda *_: (1,), written=written)

    def construct(self, change: Tensor) -> Tensor:
        """Change of all values, one parameter after the other: (sum of their sizes,)."""
        return self.subtract(change, *self.parameters)

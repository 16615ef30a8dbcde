"""sigmoid(z) * gated: the mask of an attention module over a map."""

import functools
from typing import Any

from mindspore import ops

from train.native.operators import operator


@functools.cache
def gate() -> ops.Custom:
    """Inputs: z and ``gated``, of one shape. Output: sigmoid(z) * gated."""
    gradient = operator("gate_grad", lambda dout, z, gated: (z, gated), outputs=2)

    def bprop(z: Any, gated: Any, out: Any, dout: Any) -> Any:
        return gradient(dout, z, gated)

    return operator("gate", lambda z, gated: z, bprop=bprop)

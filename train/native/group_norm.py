"""Group norm of NHWC maps, alone or with a ReLU."""

import functools
from typing import Any

from mindspore import ops

from train.native.operators import operator


@functools.cache
def group_norm(groups: int, relu: bool) -> ops.Custom:
    """As ``mindspore.nn.GroupNorm``, and max(y, 0) of that with ``relu``.

    Inputs: x (N, H, W, C), gamma and beta (C,). Outputs: y (N, H, W, C), and what the gradient
    needs, (2, N, ``groups``).
    """
    name = "group_norm_relu" if relu else "group_norm"
    gradient = operator(f"{name}_grad", lambda dy, x, gamma, beta, saved: (x, gamma, beta), 3)

    def bprop(x: Any, gamma: Any, beta: Any, out: Any, dout: Any) -> Any:
        return gradient(dout[0], x, gamma, beta, out[1])

    return operator(name, lambda x, *_: (x, (2, x[0], groups)), outputs=2, bprop=bprop)

"""Group norm of NHWC maps, alone or with a ReLU."""

import functools
from typing import Any

from mindspore import Tensor, ops

from train.native.operators import operator, options


def group_norm_options(groups: int, relu: bool) -> Tensor:
    """The last input of the operator.

    Args:
        groups: Groups of channels; divides their number.
        relu: Whether negative results become 0.
    """
    return options(int(relu), groups)


@functools.cache
def group_norm(groups: int) -> ops.Custom:
    """As ``mindspore.nn.GroupNorm``.

    Inputs: x (N, H, W, C), gamma and beta (C,), :func:`group_norm_options`. Outputs: y (N, H, W,
    C), and what the gradient needs, (2, N, ``groups``).
    """
    gradient = operator(
        "group_norm_grad", lambda dy, x, gamma, beta, *_: (x, gamma, beta), outputs=3
    )

    def bprop(x: Any, gamma: Any, beta: Any, opts: Any, out: Any, dout: Any) -> Any:
        dx, dgamma, dbeta = gradient(dout[0], x, gamma, beta, out[1], opts)
        return dx, dgamma, dbeta, ops.zeros_like(opts)

    return operator("group_norm", lambda x, *_: (x, (2, x[0], groups)), outputs=2, bprop=bprop)

"""The mean cross-entropies of K scene tasks in one operator, with smoothed labels.

Shapes: of every scene task logits (n_t, C_t) and labels int32 (n_t,), where C_t are its classes; if
images are mixed with each other, also the labels of their partners, int32 (n_t,), and the shares of
their own, (n_t,).
"""

import functools
from typing import Any

from mindspore import ops

from train.native.operators import operator


# Graphs ask for it while they are compiled, when they know the number of tasks.
@ops.constexpr  # type: ignore[untyped-decorator]
@functools.cache
def cross_entropy(num_tasks: int, mixed: bool) -> ops.Custom:
    """Losses (K,).

    Inputs: the smoothing, (); K logits; K labels; of mixed images K labels of partners and K
    shares. Each kind is a tuple: MindSpore gives all tensors of one the same type.

    Args:
        num_tasks: K.
        mixed: Whether images are mixed with each other.
    """
    gradient = _gradient(num_tasks)

    def of_plain(smoothing: Any, logits: Any, labels: Any, out: Any, dout: Any) -> Any:
        found = gradient(dout, smoothing, logits, labels)
        return (
            ops.zeros_like(smoothing),
            found if num_tasks > 1 else (found,),
            _zeros(labels),
        )

    def of_mixed(
        smoothing: Any, logits: Any, labels: Any, partners: Any, shares: Any, out: Any, dout: Any
    ) -> Any:
        found = gradient(dout, smoothing, logits, labels, partners, shares)
        return (
            ops.zeros_like(smoothing),
            found if num_tasks > 1 else (found,),
            _zeros(labels),
            _zeros(partners),
            _zeros(shares),
        )

    bprop = of_mixed if mixed else of_plain
    return operator("cross_entropy", lambda *_: (num_tasks,), bprop=bprop)


@functools.cache
def _gradient(num_tasks: int) -> ops.Custom:
    """Gradient of the losses, then the inputs of the operator -> gradients of the logits."""
    return operator(
        "cross_entropy_grad",
        lambda dlosses, smoothing, logits, *_: logits if num_tasks > 1 else logits[0],
        outputs=num_tasks,
    )


def _zeros(values: Any) -> Any:
    return tuple([ops.zeros_like(value) for value in values])

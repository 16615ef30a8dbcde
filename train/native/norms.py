"""Batch norm of the images of K tasks in one operator, each with its own statistics; group norm.

With one task it is plain batch norm; with several, domain norm or the norms of their attention
branches. What follows the norm is part of it: a ReLU, or the gate of an attention module.

Shapes: N = images, H, W = height and width, C = channels. Maps are NHWC.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, Literal

from mindspore import Tensor, ops

from train.native.operators import operator, options, zeros_like_each

Activation = Literal["none", "relu", "gate"]

# As in source/norm.h.
_ACTIVATIONS: tuple[Activation, ...] = ("none", "relu", "gate")


def batch_norm_options(activation: Activation, counts: Sequence[int]) -> Tensor:
    """Return the last input of the batch norms.

    It says what follows the norm y: nothing, max(y, 0), or sigmoid(y) * gated; and how many images
    every task has, in their order in the map.
    """
    return options(_ACTIVATIONS.index(activation), *counts)


@functools.cache
def batch_norm(num_tasks: int) -> ops.Custom:
    """Return an operator that normalises with the statistics of the batch.

    It updates the moving ones (momentum 0.9).

    Inputs: x (N, H, W, C); K gammas, K betas, K moving means and K moving variances (C,), each kind
    a tuple, the last two of parameters that are written; :func:`batch_norm_options`.

    Outputs: y (N, H, W, C) and what the gradient needs, (2, K, C).
    """
    gradients = _batch_norm_gradients(num_tasks, maps=1)

    def bprop(
        x: Any, gammas: Any, betas: Any, means: Any, variances: Any, opts: Any, out: Any, dout: Any
    ) -> Any:
        return gradients((x,), gammas, betas, means, variances, opts, out, dout)

    return _batch_norm(num_tasks, 1, bprop)


@functools.cache
def batch_norm_gate(num_tasks: int) -> ops.Custom:
    """Return an operator for sigmoid(batch norm of x) * gated, the end of an attention module.

    Inputs and outputs are those of :func:`batch_norm`, with ``gated`` (N, H, W, C) after x.
    """
    gradients = _batch_norm_gradients(num_tasks, maps=2)

    def bprop(
        x: Any,
        gated: Any,
        gammas: Any,
        betas: Any,
        means: Any,
        variances: Any,
        opts: Any,
        out: Any,
        dout: Any,
    ) -> Any:
        return gradients((x, gated), gammas, betas, means, variances, opts, out, dout)

    return _batch_norm(num_tasks, 2, bprop)


def _batch_norm(num_tasks: int, maps: int, bprop: Callable[..., Any]) -> ops.Custom:
    return operator(
        "batch_norm",
        lambda x, *_: (x, (2, num_tasks, x[-1])),
        outputs=2,
        bprop=bprop,
        written=(*(False,) * (maps + 2), True, True, False),
    )


@functools.cache
def batch_norm_inference() -> ops.Custom:
    """Return an operator that normalises with the moving statistics: y alone.

    Inputs are those of :func:`batch_norm` or :func:`batch_norm_gate`. It has no gradient.
    """
    return operator("batch_norm_inference", lambda x, *_: x)


def _batch_norm_gradients(num_tasks: int, maps: int) -> Callable[..., Any]:
    """Return a function of the inputs, with the ``maps`` maps as one tuple -> their gradients."""
    primitive = operator(
        "batch_norm_grad",
        lambda opts, dy, *_: (*(dy,) * maps, *((dy[-1],),) * (2 * num_tasks)),
        outputs=maps + 2 * num_tasks,
    )

    def gradients(
        x: Any, gammas: Any, betas: Any, means: Any, variances: Any, opts: Any, out: Any, dout: Any
    ) -> Any:
        found = primitive(opts, dout[0], x, out[1], gammas, betas)
        return (
            *found[:maps],
            found[maps : maps + num_tasks],
            found[maps + num_tasks :],
            zeros_like_each(means),
            zeros_like_each(variances),
            ops.zeros_like(opts),
        )

    return gradients


@functools.cache
def group_norm(groups: int, relu: bool) -> ops.Custom:
    """Return an operator like ``mindspore.nn.GroupNorm``, or with ``relu`` max(y, 0) of its result.

    Inputs: x (N, H, W, C), gamma and beta (C,). Outputs: y (N, H, W, C), and what the gradient
    needs, (2, N, ``groups``).
    """
    name = "group_norm_relu" if relu else "group_norm"
    gradient = operator(f"{name}_grad", lambda dy, x, gamma, beta, saved: (x, gamma, beta), 3)

    def bprop(x: Any, gamma: Any, beta: Any, out: Any, dout: Any) -> Any:
        return gradient(dout[0], x, gamma, beta, out[1])

    return operator(name, lambda x, *_: (x, (2, x[0], groups)), outputs=2, bprop=bprop)

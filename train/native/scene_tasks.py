"""The heads and the losses of K scene tasks, each in one operator.

Shapes: x (N, H, W, C), with the images of other tasks too; of every scene task weight (C_t, C),
bias (C_t,), logits (n_t, C_t) and labels int32 (n_t,), where C_t are its classes. If images are
mixed with each other, also the labels of their partners, int32 (n_t,), and the shares of their own,
(n_t,).
"""

import functools
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from mindspore import Tensor, ops

from train.native.operators import operator, zeros_like_each


def images_of_tasks(tasks: Sequence[int], counts: Sequence[int]) -> tuple[Tensor, ...]:
    """Return the last input of :func:`scene_heads`: for every scene task, its images.

    As tensors (n_t,), since the shape of an output follows from the shapes of inputs alone.

    Args:
        tasks: Positions of the scene tasks among all tasks.
        counts: Images of all tasks, in their order in the map.
    """
    begins = list(itertools.accumulate(counts, initial=0))
    return tuple(Tensor(np.arange(begins[t], begins[t + 1], dtype=np.int32)) for t in tasks)


@functools.cache
def scene_heads(num_tasks: int) -> ops.Custom:
    """Return an operator for the logits of the tasks: global average pooling and linear layers.

    Inputs: x; K weights, K biases and K numbers of images (:func:`images_of_tasks`), each kind a
    tuple. Output: the logits as a tuple, or as one tensor if there is one task.
    """
    gradient = operator(
        "scene_heads_grad",
        lambda dlogits, x, weights, _: (x, *weights, *(weight[:1] for weight in weights)),
        outputs=1 + 2 * num_tasks,
    )

    def bprop(x: Any, weights: Any, biases: Any, images: Any, out: Any, dout: Any) -> Any:
        found = gradient(dout if num_tasks > 1 else (dout,), x, weights, images)
        of_weights, of_biases = found[1 : 1 + num_tasks], found[1 + num_tasks :]
        return found[0], of_weights, of_biases, zeros_like_each(images)

    def shapes(x: Any, weights: Any, biases: Any, images: Any) -> Any:
        logits = tuple((n[0], bias[0]) for n, bias in zip(images, biases, strict=True))
        return logits if num_tasks > 1 else logits[0]

    return operator("scene_heads", shapes, outputs=num_tasks, bprop=bprop)


# Graphs ask for it while they are compiled, when they know the number of tasks.
@ops.constexpr  # type: ignore[untyped-decorator]
@functools.cache
def cross_entropy(num_tasks: int, mixed: bool) -> ops.Custom:
    """Return an operator for the mean cross-entropies of the tasks, with smoothed labels: (K,).

    Inputs: the smoothing, (); K logits; K labels; of mixed images K labels of partners and K
    shares. Each kind is a tuple: MindSpore gives all tensors of one the same type.
    """
    gradient = operator(
        "cross_entropy_grad",
        lambda dlosses, smoothing, logits, *_: logits if num_tasks > 1 else logits[0],
        outputs=num_tasks,
    )

    def of_plain(smoothing: Any, logits: Any, labels: Any, out: Any, dout: Any) -> Any:
        found = gradient(dout, smoothing, logits, labels)
        found = found if num_tasks > 1 else (found,)
        return ops.zeros_like(smoothing), found, zeros_like_each(labels)

    def of_mixed(
        smoothing: Any, logits: Any, labels: Any, partners: Any, shares: Any, out: Any, dout: Any
    ) -> Any:
        found = gradient(dout, smoothing, logits, labels, partners, shares)
        return (
            ops.zeros_like(smoothing),
            found if num_tasks > 1 else (found,),
            zeros_like_each(labels),
            zeros_like_each(partners),
            zeros_like_each(shares),
        )

    bprop = of_mixed if mixed else of_plain
    return operator("cross_entropy", lambda *_: (num_tasks,), bprop=bprop)

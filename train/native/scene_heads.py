"""The heads of K scene tasks in one operator: global average pooling, and a linear layer of each.

Shapes: x (N, H, W, C), with the images of other tasks too; of every scene task weight (C_t, C),
bias (C_t,) and logits (n_t, C_t), where C_t are its classes.
"""

import functools
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from mindspore import Tensor, ops

from train.native.operators import operator


def images_of_tasks(tasks: Sequence[int], counts: Sequence[int]) -> tuple[Tensor, ...]:
    """The last input of the operators here: for every scene task, which images are its own.

    As tensors (n_t,), since the shape of an output follows from the shapes of inputs alone.

    Args:
        tasks: Positions of the scene tasks among all tasks.
        counts: Images of all tasks, in their order in the map.
    """
    begins = list(itertools.accumulate(counts, initial=0))
    return tuple(Tensor(np.arange(begins[t], begins[t + 1], dtype=np.int32)) for t in tasks)


@functools.cache
def scene_heads(num_tasks: int) -> ops.Custom:
    """Logits of every scene task: a tuple, or one tensor if there is one task.

    Inputs: x; K weights, K biases and K numbers of images (:func:`images_of_tasks`), each kind a
    tuple.
    """
    gradient = _gradient(num_tasks)

    def bprop(x: Any, weights: Any, biases: Any, images: Any, out: Any, dout: Any) -> Any:
        found = gradient(dout if num_tasks > 1 else (dout,), x, weights, images)
        return (
            found[0],
            found[1 : 1 + num_tasks],
            found[1 + num_tasks :],
            tuple([ops.zeros_like(own) for own in images]),
        )

    def shapes(x: Any, weights: Any, biases: Any, images: Any) -> Any:
        logits = tuple((n[0], bias[0]) for n, bias in zip(images, biases, strict=True))
        return logits if num_tasks > 1 else logits[0]

    return operator("scene_heads", shapes, outputs=num_tasks, bprop=bprop)


@functools.cache
def _gradient(num_tasks: int) -> ops.Custom:
    """Gradients of the logits, x, weights, images -> gradients of x, weights and biases."""
    return operator(
        "scene_heads_grad",
        lambda dlogits, x, weights, _: (x, *weights, *(weight[:1] for weight in weights)),
        outputs=1 + 2 * num_tasks,
    )

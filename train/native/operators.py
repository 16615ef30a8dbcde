"""Makes MindSpore primitives of the functions in the library."""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Tensor, ops
from mindspore.ops import signature

from train.native import library

_numbers = itertools.count()


def operator(
    name: str,
    out_shape: Callable[..., Any],
    outputs: int = 1,
    bprop: Callable[..., Any] | None = None,
    written: Sequence[bool] = (),
) -> ops.Custom:
    """Return a primitive that calls a function of the library; all its outputs are float32.

    Args:
        name: The function, ``MTLN_OPERATOR(name)`` in the C++ source.
        out_shape: Shapes of the inputs -> shape of the output, or a tuple of shapes.
        outputs: Number of outputs.
        bprop: Gradient as MindSpore wants it: (*inputs, out, dout) -> a gradient for each input.
        written: For every input, whether it is a parameter that the function writes to: by that
            MindSpore keeps reads and writes in their order. Empty if none is.

    Raises:
        NativeUnavailable: There is no library.
    """
    dtype = ms.float32 if outputs == 1 else (ms.float32,) * outputs
    path = library.load()._name
    primitive = ops.Custom(f"{path}:{name}", out_shape, lambda *_: dtype, "aot", bprop)
    # MindSpore takes two primitives with the same attributes for one, their gradients included.
    primitive.add_prim_attr("number", next(_numbers))
    if any(written):
        access = [signature.sig_rw.RW_WRITE if w else signature.sig_rw.RW_READ for w in written]
        primitive.set_signatures(
            [signature.make_sig(f"input{i}", rw) for i, rw in enumerate(access)]
        )
        primitive.add_prim_attr("side_effect_mem", True)
    return primitive


def options(*values: int) -> Tensor:
    """Return what an operator has to know beside its tensors: its last input."""
    return Tensor(np.array(values, np.int32))


def zeros_like_each(values: Any) -> Any:
    """Return the gradients of a tuple of inputs that have none. Called in graphs."""
    return tuple([ops.zeros_like(value) for value in values])

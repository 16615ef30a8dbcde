"""Calls the functions of the native library directly, without MindSpore and its graphs."""

import ctypes
import functools
import os
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from train.native import build, library

Array = np.ndarray

# Another library than the one for this processor: the sanitised one.
LIBRARY_VARIABLE = "MTLN_TEST_LIBRARY"

# Examples of a grid. Derandomised: a failure must not depend on the day.
grid = settings(
    max_examples=6 if LIBRARY_VARIABLE in os.environ else 60,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
threads_used = st.sampled_from([1, 2])


@functools.cache
def native() -> ctypes.CDLL:
    """Return the library; skips the test where none can be built."""
    try:
        if path := os.environ.get(LIBRARY_VARIABLE):
            return ctypes.CDLL(path)
        build.build()
        return library.load()
    except library.NativeUnavailable as reason:
        pytest.skip(f"native operators: {reason}")


def code(name: str, inputs: Sequence[Array], outputs: Sequence[Array], threads: int = 1) -> int:
    """Return what a function returns.

    Args:
        name: The function.
        inputs: Contiguous arrays, float32 or whatever the function takes.
        outputs: Contiguous arrays that it writes.
        threads: How many threads share its work.
    """
    arrays = [*inputs, *outputs]
    assert all(array.flags.c_contiguous for array in arrays)
    count = len(arrays)
    shapes = [(ctypes.c_int64 * array.ndim)(*array.shape) for array in arrays]
    native().mtln_set_threads(threads)
    try:
        result = getattr(native(), name)(
            count,
            (ctypes.c_void_p * count)(*[array.ctypes.data for array in arrays]),
            (ctypes.c_int * count)(*[array.ndim for array in arrays]),
            (ctypes.c_void_p * count)(*map(ctypes.addressof, shapes)),
            *(None, None, None),
        )
    finally:
        native().mtln_set_threads(1)
    return int(result)


def call(
    name: str, inputs: Iterable[Array], shapes: Iterable[Sequence[int]], threads: int = 1
) -> list[Array]:
    """Return the float32 outputs of a function, of the given shapes.

    Args:
        name: The function.
        inputs: Floating numbers of any type are given as float32, others as they are.
        shapes: Of the outputs.
        threads: How many threads share its work.
    """
    given = [
        np.ascontiguousarray(array, np.float32 if array.dtype.kind == "f" else array.dtype)
        for array in inputs
    ]
    # What the function leaves out shows.
    outputs = [np.full(shape, np.nan, np.float32) for shape in shapes]
    assert code(name, given, outputs, threads) == 0
    return outputs


def options(*values: int) -> Array:
    """Return the last input of an operator."""
    return np.array(values, np.int32)


def parameters(name: str, values: Iterable[Array]) -> Any:
    """Return a ParameterTuple of float32 values, for a test in a graph."""
    from mindspore import Parameter, ParameterTuple, Tensor

    tensors = [Tensor(value.astype(np.float32)) for value in values]
    return ParameterTuple([Parameter(t, name=f"{name}{i}") for i, t in enumerate(tensors)])

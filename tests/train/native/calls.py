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


def assert_in_graph(net: Any, loss: float, gradients: Iterable[Array], tolerance: float) -> None:
    """Compile a cell without inputs; compare its result and the gradients of its parameters."""
    import mindspore as ms

    actual, found = ms.jit(ms.value_and_grad(net, None, net.trainable_params()))()
    assert float(actual) == pytest.approx(loss, rel=1e-5)
    assert_all_close([gradient.asnumpy() for gradient in found], gradients, tolerance)


def assert_refused(
    name: str, inputs: Sequence[Array], outputs: Sequence[Array], capfd: pytest.CaptureFixture[str]
) -> str:
    """Inputs that do not fit must be told in one line, which is returned."""
    assert code(name, inputs, outputs) != 0
    message = capfd.readouterr().err
    assert message.count("\n") == 1 and f"native operator {name}: " in message
    return message


def assert_close(actual: Array, expected: Array, tolerance: float) -> None:
    """Differences must be at most ``tolerance``, relative to the largest expected value.

    Or to 1, about the size of the terms of a sum: those of a small one may cancel out.
    """
    assert actual.shape == expected.shape
    scale = np.abs(expected).max(initial=1.0)
    assert np.abs(actual - expected).max(initial=0.0) <= tolerance * scale


def assert_all_close(actual: Iterable[Array], expected: Iterable[Array], tolerance: float) -> None:
    """The same of one array after the other."""
    for one, other in zip(actual, expected, strict=True):
        assert_close(one, other, tolerance)


def assert_all_equal(actual: Iterable[Array], expected: Iterable[Array]) -> None:
    """All values must be the same."""
    assert all((one == other).all() for one, other in zip(actual, expected, strict=True))


def assert_alike(actual: Array, expected: Array) -> None:
    """NaN and infinities must be where they are expected, and nowhere else."""
    assert (np.isnan(actual) == np.isnan(expected)).all()
    assert (np.isposinf(actual) == np.isposinf(expected)).all()
    assert (np.isneginf(actual) == np.isneginf(expected)).all()


def assert_all_alike(actual: Iterable[Array], expected: Iterable[Array]) -> None:
    """The same of one array after the other."""
    for one, other in zip(actual, expected, strict=True):
        assert_alike(one, other)


def assert_at_least_alike(actual: Array, expected: Array) -> None:
    """What is expected to be NaN or infinite must be one of them; most other values are finite."""
    assert not np.isfinite(actual[~np.isfinite(expected)]).any()
    assert np.isfinite(actual).any()

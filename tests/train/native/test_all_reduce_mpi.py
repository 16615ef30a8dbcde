"""The 16-bit types of the native reduction, bit by bit, and what a rank does with its share."""

import ctypes
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from tests.train.native_calls import Array, call, native
from tests.train.numpy_half import HALVES, rounded, summed
from train.config.sections import Precision

Exchange = Callable[[Array, Array], None]

FUNCTION = ctypes.CFUNCTYPE(
    ctypes.c_int,
    *(ctypes.c_void_p, ctypes.c_int, ctypes.c_ssize_t),
    *(ctypes.c_void_p, ctypes.c_int, ctypes.c_ssize_t, ctypes.c_ssize_t),
)


class StandIn:
    """Takes the place of MPI for one of several ranks.

    Args:
        ranks: Their number.
        all_to_all, all_gather: (sent, received) -> None, both (ranks * share,) of 16 bits.
    """

    def __init__(self, ranks: int, all_to_all: Exchange, all_gather: Exchange) -> None:
        self.functions = [
            FUNCTION(self._of(ranks, all_to_all, ranks)),
            FUNCTION(self._of(ranks, all_gather, 1)),
        ]
        none = ctypes.c_ssize_t(0)
        native().mtln_set_mpi(
            None,
            *(ctypes.cast(f, ctypes.c_void_p) for f in self.functions),
            *(none,) * 4,
            ranks,
        )

    @staticmethod
    def _of(ranks: int, exchange: Exchange, parts: int) -> Callable[..., int]:
        def function(sent: int, count: int, _: int, received: int, *__: int) -> int:
            exchange(_array(sent, parts * count), _array(received, ranks * count))
            return 0

        return function


def _array(address: int, size: int) -> Array:
    pointer = ctypes.cast(address, ctypes.POINTER(ctypes.c_uint16))
    return np.ctypeslib.as_array(pointer, (size,))


def copy(sent: Array, received: Array) -> None:
    received[:] = sent


@pytest.fixture
def alone() -> Iterator[None]:
    """One rank: what comes back is the vector, rounded."""
    stand_in = StandIn(1, copy, copy)
    yield
    del stand_in


def through(values: Array, precision: Precision) -> Array:
    (result,) = call(f"all_reduce_{precision}", [values], [values.shape])
    return result


def assert_same_bits(found: Array, expected: Array) -> None:
    """Signs of zero count, what is in a NaN does not."""
    expected = expected.astype(np.float32)
    assert (np.isnan(found) == np.isnan(expected)).all()
    number = ~np.isnan(expected)
    assert (found[number].view(np.uint32) == expected[number].view(np.uint32)).all()


@pytest.mark.parametrize("precision", HALVES)
def test_every_number_of_the_type_comes_back(alone: None, precision: Precision) -> None:
    bits = np.arange(2**16, dtype=np.uint32)
    if precision == "float16":
        values = bits.astype(np.uint16).view(np.float16).astype(np.float32)
    else:
        values = (bits << 16).view(np.float32)
    assert_same_bits(through(values, precision), values)


@pytest.mark.parametrize("precision", HALVES)
def test_rounding(alone: None, precision: Precision) -> None:
    """To the nearest, ties to even: numbers of all sizes, and those half-way between two."""
    rng = np.random.default_rng(0)
    every_size = rng.integers(0, 2**32, 200_000, np.uint32).view(np.float32)
    common = (rng.normal(size=200_000) * 10.0 ** rng.integers(-9, 6, 200_000)).astype(np.float32)
    upper = rng.integers(0, 2**16, 100_000, np.uint32) << 16
    half_way = (upper | rng.choice(np.array([0x7FFF, 0x8000, 0x8001], np.uint32), 100_000)).view(
        np.float32
    )
    thirteen = (common.view(np.uint32) & ~np.uint32(0x1FFF)) | np.uint32(0x1000)
    edges = np.array([65504, 65519.996, 65520, 1e30, 2**-24, 2**-25, 2**-14, 0, 1e-45], np.float32)
    values = np.concatenate(
        [every_size, common, half_way, thirteen.view(np.float32), edges, -edges]
    )
    assert_same_bits(through(values, precision), rounded(values, precision))


@pytest.mark.parametrize("precision", HALVES)
def test_no_nan_becomes_a_number(alone: None, precision: Precision) -> None:
    """Those whose mantissa is set in the lowest or in all bits too, of both signs."""
    bits = np.array([0x7F800001, 0x7F80FFFF, 0x7FFFFFFF, 0x7FC00000, 0x7F810000], np.uint32)
    values = np.concatenate([bits, bits | 0x80000000]).view(np.float32)
    assert np.isnan(through(values, precision)).all()
    infinite = np.array([np.inf, -np.inf], np.float32)
    assert (through(infinite, precision) == infinite).all()


@pytest.mark.parametrize("precision", HALVES)
@pytest.mark.parametrize("size", [1, 2, 3, 4095, 10_001])
def test_a_rank_adds_up_its_share(precision: Precision, size: int) -> None:
    """The second of three ranks; sizes that divide nothing, and more than a block."""
    rng = np.random.default_rng(size)
    vectors = [rng.normal(size=size).astype(np.float32) for _ in range(3)]
    vectors[2][-1] = np.nan
    share = -(-size // 3)
    encode = _encoder(precision)
    padded = [np.pad(encode(v), (0, 3 * share - size)).reshape(3, share) for v in vectors]
    total = np.pad(encode(summed(vectors, precision)), (0, 3 * share - size)).reshape(3, share)
    seen: dict[str, Array] = {}

    def all_to_all(sent: Array, received: Array) -> None:
        seen["sent"] = sent.copy()
        received[:] = np.concatenate([rows[1] for rows in padded])

    def all_gather(sent: Array, received: Array) -> None:
        seen["share"] = sent.copy()
        received[:] = total.ravel()

    stand_in = StandIn(3, all_to_all, all_gather)
    result = through(vectors[1], precision)
    del stand_in
    assert (seen["sent"] == padded[1].ravel()).all()
    assert (seen["share"] == total[1]).all()
    assert_same_bits(result, summed(vectors, precision))


def _encoder(precision: Precision) -> Callable[[Array], Array]:
    """Numbers -> their bits; they are rounded before."""

    def encode(values: Array) -> Array:
        near = rounded(values, precision).astype(np.float32)
        if precision == "float16":
            return near.astype(np.float16).view(np.uint16)
        return (near.view(np.uint32) >> 16).astype(np.uint16)

    return encode

"""Rounding to 16 bits, and the sum over ranks that travels so, from their definitions."""

from collections.abc import Sequence

import numpy as np

from train.config.sections import Precision

HALVES: tuple[Precision, ...] = ("float16", "bfloat16")
# Largest relative error of rounding a number.
EPSILON = {"float16": 2.0**-11, "bfloat16": 2.0**-8}
_MANTISSA = {"float16": 11, "bfloat16": 8}
_SMALLEST_EXPONENT = {"float16": -24, "bfloat16": -133}
_LARGEST = {"float16": 65504.0, "bfloat16": (2 - 2.0**-7) * 2.0**127}


def rounded(values: np.ndarray, precision: Precision) -> np.ndarray:
    """The nearest numbers of the type, ties to even, as float64: from their definition."""
    with np.errstate(invalid="ignore"):  # a signalling NaN
        exact = np.asarray(values, np.float64)
    exponent = np.frexp(exact)[1]
    unit = np.maximum(exponent - _MANTISSA[precision], _SMALLEST_EXPONENT[precision])
    with np.errstate(invalid="ignore", over="ignore"):
        near = np.ldexp(np.rint(np.ldexp(exact, -unit)), unit)
    result = np.where(np.isfinite(exact), near, exact)
    too_large = np.isfinite(exact) & (np.abs(result) > _LARGEST[precision])
    return np.where(too_large, np.copysign(np.inf, exact), result)


def summed(vectors: Sequence[np.ndarray], precision: Precision) -> np.ndarray:
    """The sum over the ranks: rounded terms, added in float32 rank by rank, and rounded again."""
    terms = [rounded(vector, precision).astype(np.float32) for vector in vectors]
    total = terms[0].copy()
    with np.errstate(invalid="ignore", over="ignore"):
        for term in terms[1:]:
            total += term
    return rounded(total, precision).astype(np.float32)

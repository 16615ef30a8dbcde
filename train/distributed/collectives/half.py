"""A sum over the ranks with numbers of 16 bits on the wire, in numpy: see all_reduce.cc, its twin.

Shape: n = values of the vector.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from train.config.precision import Precision
from train.distributed.collectives.base import Floats

Bits = npt.NDArray[np.uint16]


def all_reduce_in_half(comm: Any, vector: Floats, precision: Precision) -> Floats:
    """Sum of a float32 vector (n,) over the ranks, bit for bit the same on all of them.

    Every rank adds up a share of the vector in float32. So what is rounded are the terms and the
    sum, whatever the number of ranks; and as many bytes travel as in a ring.

    Args:
        comm: The mpi4py communicator.
        vector: What this rank adds.
        precision: Type on the wire, of 16 bits.
    """
    ranks = comm.Get_size()
    share = -(-vector.size // ranks)
    sent = np.zeros(share * ranks, np.uint16)
    sent[: vector.size] = encode(vector, precision)
    received = np.empty_like(sent)
    comm.Alltoall(sent, received)
    terms = decode(received, precision).reshape(ranks, share)
    total = terms[0].copy()
    for term in terms[1:]:
        total += term
    comm.Allgather(encode(total, precision), received)
    return decode(received, precision)[: vector.size]


def encode(values: Floats, precision: Precision) -> Bits:
    """The numbers as 16 bits each, rounded to the nearest, ties to even."""
    if precision == "float16":
        with np.errstate(over="ignore"):  # what is too large is an infinity
            return values.astype(np.float16).view(np.uint16)
    # The upper half of a float32.
    bits = values.view(np.uint32)
    upper = bits >> 16
    rounded = (bits + np.uint32(0x7FFF) + (upper & 1)) >> 16
    # Rounding a NaN could carry into its exponent, cutting it could leave an infinity.
    return np.where(np.isnan(values), upper | 0x40, rounded).astype(np.uint16)


def decode(bits: Bits, precision: Precision) -> Floats:
    """The inverse of :func:`encode`."""
    if precision == "float16":
        return bits.view(np.float16).astype(np.float32)
    return (bits.astype(np.uint32) << 16).view(np.float32)

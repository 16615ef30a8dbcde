"""The reduction between ranks of one machine through memory that they share.

Shape: n = values of the vector.
"""

import ctypes
import mmap
import os
import secrets
from collections.abc import Callable
from pathlib import Path

from mindspore import Tensor, nn

from train.environment import whole_number
from train.native import library
from train.native.operators import operator

# Values of a piece: 1 MB, so that the pieces of two ranks stay in the caches of usual processors.
_PIECE = 2**18
_mapped: list[mmap.mmap] = []


class AllReduce(nn.Cell):
    """Sum of a vector over all ranks. Ranks must have joined (:func:`join`).

    Raises:
        NativeUnavailable: There is no library.
    """

    def __init__(self) -> None:
        super().__init__()
        self.all_reduce = operator("all_reduce_shared", lambda vector: vector)

    def construct(self, vector: Tensor) -> Tensor:
        """(n,) -> (n,)."""
        return self.all_reduce(vector)


def join(rank: int, world_size: int, sum_of: Callable[[int], int]) -> bool:
    """Map memory that all ranks share; False unless all can, as on several machines.

    ``sum_of`` returns the sum over all ranks of a number of each, from 0 to 2^47.
    """
    is_first = rank == 0
    path = Path(f"/dev/shm/mtln-{sum_of(secrets.randbits(47) if is_first else 0):x}")
    try:
        # Rank 0 makes it while the others wait for it here.
        memory = _map(path, world_size, rank) if is_first else None
        sum_of(0)
        if not is_first:
            memory = _map(path, world_size, rank)
        everywhere = sum_of(1 if memory is not None else 0) == world_size
    finally:
        if is_first:  # the memory stays as long as somebody has it
            path.unlink(missing_ok=True)
    if everywhere and memory is not None:
        share(memory, rank, world_size)
    return everywhere


def share(memory: mmap.mmap, rank: int, world_size: int, piece: int = _PIECE) -> None:
    """Tell the native library where the memory is: zeros, mapped by all ranks.

    ``piece`` is the number of values that are summed at a time.
    """
    address = ctypes.c_void_p(ctypes.addressof(ctypes.c_char.from_buffer(memory)))
    timeout = whole_number(os.environ, "MS_CPU_COMM_OP_TIMEOUT")
    seconds = 600 if timeout is None else timeout
    library.load().mtln_share(address, ctypes.c_int64(piece), rank, world_size, seconds)
    _mapped.append(memory)  # for as long as this process lives


def num_bytes(world_size: int, piece: int) -> int:
    """Return the size of the memory."""
    size = library.load().mtln_shared_bytes
    size.restype = ctypes.c_int64
    return int(size(world_size, ctypes.c_int64(piece)))


def _map(path: Path, world_size: int, rank: int) -> mmap.mmap | None:
    """Map the memory, which rank 0 makes; None where it cannot be."""
    try:
        size = num_bytes(world_size, _PIECE)
        flags = os.O_RDWR | (os.O_CREAT | os.O_EXCL if rank == 0 else 0)
        handle = os.open(path, flags, 0o600)
        try:
            if rank == 0:
                # Containers often have 64 MB: what is not there now would be a crash later.
                os.posix_fallocate(handle, 0, size)
            return mmap.mmap(handle, size)
        finally:
            os.close(handle)
    except (OSError, ValueError, library.NativeUnavailable):
        return None

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

    The memory has no name in any file system, so that nothing is left of it when all ranks have
    ended, however they did. The others open it as rank 0's.

    ``sum_of`` returns the sum over all ranks of a number of each, from 0 to 2^47.
    """
    is_first = rank == 0
    # Another machine may have a process of the same number.
    name = f"mtln-{sum_of(secrets.randbits(47) if is_first else 0):x}"
    handle = _make(name, world_size) if is_first else None
    try:
        place = sum_of(os.getpid() << 16 | handle if handle is not None else 0)
        if not is_first and place:
            handle = _open_of_rank_0(name, place >> 16, place & 0xFFFF)
        memory = _map(handle, world_size)
        everywhere = sum_of(1 if memory is not None else 0) == world_size
    finally:
        if handle is not None:
            os.close(handle)
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


def _make(name: str, world_size: int) -> int | None:
    """Return a handle of new memory; None where there is none."""
    try:
        handle = os.memfd_create(name)
        try:
            # What is not there now would be a crash later.
            os.posix_fallocate(handle, 0, num_bytes(world_size, _PIECE))
        except BaseException:
            os.close(handle)
            raise
    except (OSError, OverflowError, library.NativeUnavailable):
        return None
    return handle


def _open_of_rank_0(name: str, process: int, handle: int) -> int | None:
    """Open the memory by its handle in the process of rank 0; None if that is not here."""
    path = Path("/proc", str(process), "fd", str(handle))
    try:
        if not str(path.readlink()).startswith(f"/memfd:{name} "):
            return None
        return os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return None


def _map(handle: int | None, world_size: int) -> mmap.mmap | None:
    """Map the memory; None where it cannot be."""
    try:
        return None if handle is None else mmap.mmap(handle, num_bytes(world_size, _PIECE))
    except (OSError, ValueError, library.NativeUnavailable):
        return None

"""The reduction by MPI as an operator of the compiled step, without going through Python."""

import ctypes
from pathlib import Path
from typing import Any

from mindspore import Tensor, nn

from train.native import library
from train.native.operators import operator


class AllReduce(nn.Cell):
    """Sum of a vector over all ranks. There can be one communicator in a process.

    Args:
        comm: The mpi4py communicator, used by nothing else.

    Raises:
        NativeUnavailable: There is no library, or MPI's cannot be found.
    """

    def __init__(self, comm: Any) -> None:
        from mpi4py import MPI

        super().__init__()
        handles = [MPI._handleof(handle) for handle in (MPI.FLOAT, MPI.SUM, comm)]
        library.load().mtln_set_all_reduce(
            _function("MPI_Allreduce"), *(ctypes.c_ssize_t(handle) for handle in handles)
        )
        self.comm = comm  # keeps it open
        self.all_reduce = operator("all_reduce_mpi", lambda vector: vector)

    def construct(self, vector: Tensor) -> Tensor:
        """(n,) -> (n,)."""
        return self.all_reduce(vector)


def _function(name: str) -> ctypes.c_void_p:
    """A function of the MPI library that mpi4py has loaded."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        path = Path(line.split(maxsplit=5)[-1])
        if path.name.startswith("libmpi.so"):
            return ctypes.cast(getattr(ctypes.CDLL(str(path)), name), ctypes.c_void_p)
    raise library.NativeUnavailable("the MPI library is not one that is called libmpi.so")

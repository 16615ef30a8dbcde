"""The reduction by MPI as an operator of the compiled step, without going through Python."""

import ctypes
from pathlib import Path
from typing import Any

from mindspore import Tensor, nn

from train.config.precision import Precision
from train.native import library
from train.native.operators import operator


class AllReduce(nn.Cell):
    """Sum of a float32 vector over all ranks. There can be one communicator in a process.

    Args:
        comm: The mpi4py communicator, used by nothing else.
        precision: Type of the numbers on the wire.

    Raises:
        NativeUnavailable: There is no library, or MPI's cannot be found.
    """

    def __init__(self, comm: Any, precision: Precision) -> None:
        from mpi4py import MPI

        super().__init__()
        names = ("MPI_Allreduce", "MPI_Alltoall", "MPI_Allgather")
        # What travels as 16 bits are integers to MPI: it moves them, and adds nothing.
        handles = (MPI.FLOAT, MPI.UINT16_T, MPI.SUM, comm)
        library.load().mtln_set_mpi(
            *map(_function, names),
            *(ctypes.c_ssize_t(MPI._handleof(handle)) for handle in handles),
            comm.Get_size(),
        )
        self.comm = comm  # keeps it open
        self.all_reduce = operator(f"all_reduce_{precision}", lambda vector: vector)

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

"""MPI between processes on CPU, through mpi4py.

MindSpore's own CPU engine is a ring of TCP connections; MPI moves the same message through shared
memory. MindSpore's mpirun mode does not start on CPU, so the compiled step calls MPI itself: from
the native library or, without one, from Python.

Importing ``mpi4py.MPI`` initialises MPI, so it is imported where it is used.

Shape: n = values of the vector.
"""

import ctypes
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from mindspore import Tensor, nn, ops

from train.config.sections import Precision
from train.distributed.collectives import Counts, Floats
from train.errors import UserError
from train.native import library
from train.native.operators import operator

Bits = npt.NDArray[np.uint16]


def join(rank: int, world_size: int) -> None:
    """Initialise MPI in this process, which mpirun has started with this rank in its variables.

    Raises:
        UserError: The MPI library is missing, is not that of mpirun, or cannot be called from
            several threads.
    """
    import mpi4py

    # A rank that ends without MPI_Finalize makes mpirun end the others. At the exit of a failed
    # rank it would wait for them instead, and they for it: only a success may call it (close).
    mpi4py.rc.finalize = False
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(f"mpirun: mpi4py cannot load the MPI library: {reason}") from None
    version = MPI.Get_library_version().split(",")[0].strip().splitlines()[0]
    here = MPI.COMM_WORLD.Get_rank(), MPI.COMM_WORLD.Get_size()
    if here != (rank, world_size):
        raise UserError(
            f"mpirun: it says rank {rank} of {world_size}, but the library that mpi4py loads "
            f"({version}) says rank {here[0]} of {here[1]}: the two belong to different MPI "
            "installations (MPI4PY_LIBMPI=PATH names the library to load)"
        )
    # The compiled step calls MPI from a thread of MindSpore's, the rest of the job from its own.
    if MPI.Query_thread() < MPI.THREAD_MULTIPLE:
        raise UserError(f"mpirun: {version} is built without support for threads")


def close() -> None:
    """Leave MPI after success; waits for the other ranks."""
    from mpi4py import MPI

    MPI.Finalize()


class MPICollectives:
    """Reductions by the MPI library.

    The MPI standard requires that all ranks receive identical results from a reduction.
    """

    def __init__(self) -> None:
        from mpi4py import MPI

        self._comm = MPI.COMM_WORLD
        # Its own communicator: a step that is still under way on some rank cannot be taken for
        # a collective that the host has already called on another.
        self._comm_of_steps = self._comm.Dup()
        self.world_size: int = self._comm.Get_size()

    def all_reduce_cell(self, precision: Precision = "float32") -> nn.Cell | None:
        """See :class:`train.distributed.collectives.Collectives`."""
        try:
            return NativeAllReduce(self._comm_of_steps, precision)
        except library.NativeUnavailable:
            return PythonAllReduce(self._comm_of_steps, precision)

    def mean(self, vector: Floats) -> Floats:
        """See :class:`train.distributed.collectives.Collectives`."""
        return _all_reduce(self._comm, vector) / np.float32(self.world_size)

    def broadcast(self, vector: Floats) -> Floats:
        """See :class:`train.distributed.collectives.Collectives`."""
        result = np.array(vector, np.float32)
        self._comm.Bcast(result, root=0)
        return result

    def sum_counts(self, counts: Counts) -> Counts:
        """See :class:`train.distributed.collectives.Collectives`."""
        from mpi4py import MPI

        total = np.array(counts, np.int64)
        self._comm.Allreduce(MPI.IN_PLACE, total)
        return total

    def barrier(self) -> None:
        """See :class:`train.distributed.collectives.Collectives`."""
        self._comm.Barrier()


class NativeAllReduce(nn.Cell):
    """Sum of a float32 vector over all ranks, by an operator that calls MPI without Python.

    Args:
        comm: The mpi4py communicator, used by nothing else. There can be one in a process.
        precision: Type of the numbers on the wire.

    Raises:
        NativeUnavailable: There is no library, or MPI's cannot be found.
    """

    def __init__(self, comm: Any, precision: Precision) -> None:
        from mpi4py import MPI

        super().__init__()
        functions = map(_function, ("MPI_Allreduce", "MPI_Alltoall", "MPI_Allgather"))
        # What travels as 16 bits are integers to MPI: it moves them, and adds nothing.
        values = map(MPI._handleof, (MPI.FLOAT, MPI.UINT16_T, MPI.SUM, comm))
        handles = map(ctypes.c_ssize_t, values)
        library.load().mtln_set_mpi(*functions, *handles, comm.Get_size())
        self.comm = comm  # keeps it open
        self.all_reduce = operator(f"all_reduce_{precision}", lambda vector: vector)

    def construct(self, vector: Tensor) -> Tensor:
        """(n,) -> (n,)."""
        return self.all_reduce(vector)


class PythonAllReduce(nn.Cell):
    """Sum of a float32 vector over all ranks, by a Python function inside the compiled graph.

    The arguments are those of :class:`NativeAllReduce`.
    """

    def __init__(self, comm: Any, precision: Precision) -> None:
        super().__init__()

        def all_reduce(vector: Floats) -> Floats:
            # Runs in a thread of MindSpore's. mpi4py lets go of the interpreter lock while it
            # waits for the other ranks.
            if precision == "float32":
                return _all_reduce(comm, vector)
            return _all_reduce_in_16_bits(comm, vector, precision)

        self.all_reduce = ops.Custom(all_reduce, lambda shape: shape, lambda dtype: dtype, "pyfunc")

    def construct(self, vector: Tensor) -> Tensor:
        """(n,) -> (n,)."""
        return self.all_reduce(vector)


def _function(name: str) -> ctypes.c_void_p:
    """Return a function of the MPI library that mpi4py has loaded."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        path = Path(line.split(maxsplit=5)[-1])
        if path.name.startswith("libmpi.so"):
            return ctypes.cast(getattr(ctypes.CDLL(str(path)), name), ctypes.c_void_p)
    raise library.NativeUnavailable("the MPI library is not one that is called libmpi.so")


def _all_reduce(comm: Any, vector: Floats) -> Floats:
    total = np.empty_like(vector)
    comm.Allreduce(vector, total)
    return total


def _all_reduce_in_16_bits(comm: Any, vector: Floats, precision: Precision) -> Floats:
    """Return the sum of a float32 vector (n,) over the ranks, bit for bit the same on all.

    Every rank adds up a share of the vector in float32. So what is rounded are the terms and the
    sum, whatever the number of ranks; and as many bytes travel as in a ring. The same in C++ is in
    train/native/source/all_reduce_mpi.cc.
    """
    ranks = comm.Get_size()
    share = -(-vector.size // ranks)
    sent = np.zeros(share * ranks, np.uint16)
    sent[: vector.size] = _encode(vector, precision)
    received = np.empty_like(sent)
    comm.Alltoall(sent, received)
    terms = _decode(received, precision).reshape(ranks, share)
    total = terms[0].copy()
    for term in terms[1:]:
        total += term
    comm.Allgather(_encode(total, precision), received)
    return _decode(received, precision)[: vector.size]


def _encode(values: Floats, precision: Precision) -> Bits:
    """Return the numbers as 16 bits each, rounded to the nearest, ties to even."""
    if precision == "float16":
        with np.errstate(over="ignore"):  # what is too large is an infinity
            return values.astype(np.float16).view(np.uint16)
    # The upper half of a float32.
    bits = values.view(np.uint32)
    upper = bits >> 16
    rounded = (bits + np.uint32(0x7FFF) + (upper & 1)) >> 16
    # Rounding a NaN could carry into its exponent, cutting it could leave an infinity.
    return np.where(np.isnan(values), upper | 0x40, rounded).astype(np.uint16)


def _decode(bits: Bits, precision: Precision) -> Floats:
    """Return the numbers that 16 bits each stand for."""
    if precision == "float16":
        return bits.view(np.float16).astype(np.float32)
    return (bits.astype(np.uint32) << 16).view(np.float32)

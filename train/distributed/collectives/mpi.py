"""MPI between processes on CPU, through mpi4py.

MindSpore's own CPU engine is a ring of TCP connections; MPI moves the same message through shared
memory. MindSpore's mpirun mode does not start on CPU, so the compiled step calls mpi4py itself.

Importing ``mpi4py.MPI`` initialises MPI, so it is imported where it is used.
"""

from typing import Any

import numpy as np
from mindspore import Tensor, nn, ops

from train.config.precision import Precision
from train.distributed.collectives.base import Counts, Floats
from train.distributed.collectives.half import all_reduce_in_half
from train.errors import UserError
from train.native.library import NativeUnavailable
from train.native.mpi import AllReduce as NativeAllReduce


def join(rank: int, world_size: int) -> None:
    """Initialises MPI in this process, which mpirun has started.

    Args:
        rank: This rank, as mpirun's variables say.
        world_size: Number of ranks, as mpirun's variables say.

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
    """Leaves MPI after success; waits for the other ranks."""
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
        """See :class:`Collectives`."""
        try:
            return NativeAllReduce(self._comm_of_steps, precision)
        except NativeUnavailable:
            return AllReduce(self._comm_of_steps, precision)

    def mean(self, vector: Floats) -> Floats:
        """See :class:`Collectives`."""
        return _all_reduce(self._comm, vector) / np.float32(self.world_size)

    def broadcast(self, vector: Floats) -> Floats:
        """See :class:`Collectives`."""
        result = np.array(vector, np.float32)
        self._comm.Bcast(result, root=0)
        return result

    def sum_counts(self, counts: Counts) -> Counts:
        """See :class:`Collectives`."""
        total = np.array(counts, np.int64)
        self._comm.Allreduce(_in_place(), total)
        return total

    def barrier(self) -> None:
        """See :class:`Collectives`."""
        self._comm.Barrier()


class AllReduce(nn.Cell):
    """Sum of a float32 vector over all ranks, as a Python function inside the compiled graph.

    Args:
        comm: The communicator, used by nothing else.
        precision: Type of the numbers on the wire.
    """

    def __init__(self, comm: Any, precision: Precision) -> None:
        super().__init__()

        def all_reduce(vector: Floats) -> Floats:
            # Runs in a thread of MindSpore's. mpi4py lets go of the interpreter lock while it
            # waits for the other ranks.
            if precision == "float32":
                return _all_reduce(comm, vector)
            return all_reduce_in_half(comm, vector, precision)

        self.all_reduce = ops.Custom(
            all_reduce,
            out_shape=lambda shape: shape,
            out_dtype=lambda dtype: dtype,
            func_type="pyfunc",
        )

    def construct(self, vector: Tensor) -> Tensor:
        """(n,) -> (n,)."""
        return self.all_reduce(vector)


def _all_reduce(comm: Any, vector: Floats) -> Floats:
    total = np.empty_like(vector)
    comm.Allreduce(vector, total)
    return total


def _in_place() -> Any:
    from mpi4py import MPI

    return MPI.IN_PLACE

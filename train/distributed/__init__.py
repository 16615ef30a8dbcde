"""This process among the ranks of a job, and what the ranks exchange.

::

    cluster           rank, world size and device of this process; joining and leaving the others
    mpirun            the variables by which mpirun tells a process its rank
    collectives       the collective operations of a job, whatever engine carries them out
    mindspore_engine  HCCL, NCCL or MCCL, through MindSpore
    shared_memory     the reduction of ranks on one machine, within the former
    mpi_engine        MPI, for ranks that mpirun starts on CPU
"""

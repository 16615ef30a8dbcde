"""Noticing that somebody else has started this process as one rank among others."""

from collections.abc import Mapping

from train.environment import whole_number


def foreign_starter(environment: Mapping[str, str]) -> str | None:
    """Return who starts the ranks if it is not us, in words.

    mpirun starts a copy of its command per rank, and so does the Ascend engine of ModelArts,
    which gives each its number in a rank table. Starting all ranks in every one of them would
    start the job many times over.
    """
    if (whole_number(environment, "OMPI_COMM_WORLD_SIZE") or 0) > 1:
        return f"mpirun, as rank {environment.get('OMPI_COMM_WORLD_RANK')}"
    rank, table = environment.get("RANK_ID"), environment.get("RANK_TABLE_FILE")
    if rank and table and (whole_number(environment, "RANK_SIZE") or 0) > 1:
        return f"RANK_TABLE_FILE and RANK_ID in the environment, as rank {rank}"
    return None

"""Noticing that somebody else has started this process as one rank among others."""

from collections.abc import Mapping

from train.environment import whole_number
from train.errors import UserError


def foreign_starter(environment: Mapping[str, str]) -> str | None:
    """Return who starts the ranks if it is not us, in words.

    mpirun starts a copy of its command per rank. Starting all ranks in every one of them would
    start the job many times over.
    """
    if (whole_number(environment, "OMPI_COMM_WORLD_SIZE") or 0) > 1:
        return f"mpirun, as rank {environment.get('OMPI_COMM_WORLD_RANK')}"
    return None


def rank_in_table(environment: Mapping[str, str]) -> int | None:
    """Return this process's rank where a process is started for every rank of a rank table.

    So does the Ascend engine of ModelArts, and so do scripts of the time when MindSpore itself
    started from a rank table.

    Raises:
        UserError: RANK_ID is no number.
    """
    text = environment.get("RANK_ID")
    if not text or environment.get("RANK_SIZE") == "1" or environment.get("MS_ROLE"):
        return None
    rank = whole_number(environment, "RANK_ID")
    if rank is None:
        raise UserError(f"environment: RANK_ID must be a whole number, not {text!r}")
    return rank

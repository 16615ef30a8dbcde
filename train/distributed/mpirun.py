"""The variables by which mpirun tells a process its rank. Does not need MindSpore."""

import time
from collections.abc import Mapping, MutableMapping
from typing import NamedTuple


class Names(NamedTuple):
    """The names of an mpirun's variables."""

    rank: str
    size: str
    local_rank: str


_OPEN_MPI = Names("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK")
# MPICH, Intel MPI, MVAPICH. srun may set the first two as well, but not the third.
_HYDRA = Names("PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID")

# What MindSpore takes as signs that OpenMPI has started it.
_READ_BY_MINDSPORE = (*_OPEN_MPI, "OMPI_COMMAND")


def names(environment: Mapping[str, str]) -> Names | None:
    """Return the variables with this process's rank, None if mpirun has not assigned it.

    MS_ROLE (our launcher, msrun), or RANK_ID and RANK_SIZE from elsewhere, win. Where those equal
    mpirun's they are mpirun's: MindSpore copies them there when it is loaded.
    """
    for found in (_OPEN_MPI, _HYDRA):
        if all(name in environment for name in found):
            copies = {"RANK_ID": environment[found.rank], "RANK_SIZE": environment[found.size]}
            equal = all(environment.get(own, value) == value for own, value in copies.items())
            return found if equal and not environment.get("MS_ROLE") else None
    return None


def hide_stale_variables(environment: MutableMapping[str, str]) -> None:
    """Remove OpenMPI's variables where the rank comes from elsewhere.

    MindSpore would otherwise copy them over RANK_ID, RANK_SIZE and DEVICE_ID when it is loaded.
    """
    if names(environment) is None:
        for name in _READ_BY_MINDSPORE:
            environment.pop(name, None)


def wait_for_rank_0_to_report(environment: Mapping[str, str]) -> None:
    """Wait before another rank than 0 reports a mistake of the user's and ends.

    Under mpirun all ranks share the terminal, and most mistakes are found by all of them. Rank 0
    reports it and ends, and mpirun ends the others while they wait here. A mistake that only one of
    them has found is reported when the wait is over.
    """
    found = names(environment)
    if found is not None and environment[found.rank] != "0":
        time.sleep(5.0)  # longer than rank 0 takes for that, and mpirun to end the others

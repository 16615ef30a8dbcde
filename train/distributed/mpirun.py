"""What mpirun tells a process that it starts. Does not need MindSpore."""

import time
from collections.abc import Mapping, MutableMapping
from typing import NamedTuple


class Names(NamedTuple):
    """The variables in which an mpirun puts a process's place in the job."""

    rank: str
    size: str
    local_rank: str


_OPEN_MPI = Names("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK")
# MPICH, Intel MPI, MVAPICH. srun may set the first two as well, but not the third.
_HYDRA = Names("PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID")

# By these two, too, MindSpore knows that OpenMPI has started it.
_MINDSPORE_LOOKS_AT = (*_OPEN_MPI, "OMPI_COMMAND")

# Longer than rank 0 takes to come to the same mistake and mpirun to end the others.
_SECONDS_FOR_THE_FIRST = 5.0


def names(environment: Mapping[str, str]) -> Names | None:
    """The variables with this rank's place, None if the place does not come from mpirun.

    MS_ROLE (our launcher, msrun) or a RANK_ID and RANK_SIZE of somebody's own win. Those that
    equal mpirun's are mpirun's: MindSpore copies them there when it is loaded.
    """
    for found in (_OPEN_MPI, _HYDRA):
        if all(name in environment for name in found):
            return found if _holds(found, environment) else None
    return None


def _holds(mpi: Names, environment: Mapping[str, str]) -> bool:
    copies = (("RANK_ID", mpi.rank), ("RANK_SIZE", mpi.size))
    return not environment.get("MS_ROLE") and all(
        environment.get(own, environment[name]) == environment[name] for own, name in copies
    )


def hide_stale_variables(environment: MutableMapping[str, str]) -> None:
    """Removes OpenMPI's variables where the place comes from elsewhere.

    MindSpore would otherwise copy them over RANK_ID, RANK_SIZE and DEVICE_ID when it is loaded.
    """
    if names(environment) is None:
        for name in _MINDSPORE_LOOKS_AT:
            environment.pop(name, None)


def wait_for_rank_0_to_report(environment: Mapping[str, str]) -> None:
    """To be called before a rank tells a mistake of the user's and ends.

    Under mpirun all ranks share the terminal, and most mistakes are found by all of them. Rank 0
    tells it and ends, and mpirun ends the others while they wait here. A mistake that only one of
    them has found is told when the wait is over.
    """
    found = names(environment)
    if found is not None and environment[found.rank] != "0":
        time.sleep(_SECONDS_FOR_THE_FIRST)

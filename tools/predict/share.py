"""Which part of the work is this process's, where several do it together.

They need not talk to each other: what each does follows from its number and that of all.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass

from train.distributed import mpirun
from train.environment import whole_number
from train.errors import UserError

# Number and count, as our launcher, msrun and srun tell them. SLURM_NTASKS is that of a whole job,
# and is there too where a script runs without srun, once.
_NAMES = (
    ("RANK_ID", "RANK_SIZE"),
    ("MS_NODE_ID", "MS_WORKER_NUM"),
    ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS"),
)


@dataclass(frozen=True)
class Share:
    """This process's part.

    Attributes:
        rank: Its number, from 0.
        size: How many processes there are.
    """

    rank: int = 0
    size: int = 1

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Share:
        """Read what has started this process: the launcher, mpirun, srun, or nobody in particular.

        Raises:
            UserError: A variable is no number, or out of range.
        """
        found = mpirun.names(environment)
        names = [(found.rank, found.size)] if found else _NAMES
        for rank_name, size_name in names:
            if environment.get(size_name) and environment.get(rank_name):
                rank, size = (whole_number(environment, n) for n in (rank_name, size_name))
                if rank is None or size is None or rank >= size:
                    raise UserError(
                        f"environment: {rank_name} and {size_name} must be the number of this "
                        f"process and of all, not {environment[rank_name]!r:.40} and "
                        f"{environment[size_name]!r:.40}"
                    )
                return cls(rank, size)
        return cls()

    def choose_device(self, environment: MutableMapping[str, str]) -> None:
        """Give each process of a machine a device of its own, as our launcher does."""
        found = mpirun.names(environment)
        name = found.local_rank if found else "SLURM_LOCALID"
        if self.size > 1 and environment.get(name):
            environment.setdefault("DEVICE_ID", environment[name])

    def mine(self, number: int) -> bool:
        """Return whether the piece of work of this number, from 0, is done here."""
        return number % self.size == self.rank

    @property
    def name(self) -> str:
        """What this process is called in names of files and in messages."""
        return f"{self.rank:05d}_of_{self.size:05d}"

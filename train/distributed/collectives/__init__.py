"""The few collective operations of the job: one small class per engine.

The MPI engine is not imported here: it is only needed under mpirun.
"""

from train.distributed.collectives.base import Collectives, Counts, Floats, OneProcess
from train.distributed.collectives.communication import MindSporeCollectives

__all__ = ["Collectives", "Counts", "Floats", "MindSporeCollectives", "OneProcess"]

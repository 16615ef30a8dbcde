"""The few collective operations of the job: one small class per engine.

The MPI engine is not imported here: it is only needed under mpirun.
"""

from train.collectives.base import Collectives, Counts, Floats, OneProcess
from train.collectives.communication import MindSporeCollectives

__all__ = ["Collectives", "Counts", "Floats", "MindSporeCollectives", "OneProcess"]

"""What is to run: a job as the command line describes it."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

# For the way to the next consolidation point and a checkpoint. What cannot stop then is killed.
DEFAULT_GRACE = 60.0
DEFAULT_HANG_TIMEOUT = 1800.0
DEFAULT_NODE_TIMEOUT = 600.0

_SCHEDULER = (sys.executable, "-m", "launch.scheduler")


@dataclass(frozen=True)
class Job:
    """A job, seen from one of its nodes.

    Attributes:
        worker_command: What every rank runs.
        run_dir: The run folder; the logs go to its ``logs`` folder.
        nproc: Number of ranks on this node, None for one per device.
        nnodes: Number of nodes, None for one, or as many as a rank table has.
        node_rank: Number of this node, None to find it in the rank table.
        master: Host of node 0, where the launchers meet.
        control_port: The port they meet on, None to derive it from the job's name.
        master_port: Port of MindSpore's scheduler, None for a free one.
        rank_table: File that says which servers and devices take part, and in which order; None
            for all devices, in the order of the nodes.
        rank: The only rank of the table that this launcher starts, where there is a launcher for
            every rank; None for all of its node.
        max_restarts: How often the whole job may be started again after a failure.
        min_nodes: With how many nodes at least it is started again, when others are lost; None:
            the loss of a node ends the job.
        grace: Seconds between passing a signal on and killing what is left.
        hang_timeout: Seconds without progress after which the ranks count as dead; 0: never.
        node_timeout: Seconds that the launchers wait for each other at the start, and for a lost
            node to come back.
        scheduler_command: What the scheduler of a job of several ranks runs.
        together: Whether the ranks form one cluster of MindSpore's; else each works by itself.
        upload_command: What uploads the results that are missing in object storage when the ranks
            have ended; None where the run folder is on this machine.
    """

    worker_command: Sequence[str]
    run_dir: Path
    nproc: int | None = None
    nnodes: int | None = None
    node_rank: int | None = None
    master: str | None = None
    control_port: int | None = None
    master_port: int | None = None
    rank_table: Path | None = None
    rank: int | None = None
    max_restarts: int = 0
    min_nodes: int | None = None
    grace: float = DEFAULT_GRACE
    hang_timeout: float = DEFAULT_HANG_TIMEOUT
    node_timeout: float = DEFAULT_NODE_TIMEOUT
    scheduler_command: Sequence[str] = field(default=_SCHEDULER)
    together: bool = True
    upload_command: Sequence[str] | None = None

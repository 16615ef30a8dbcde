"""What is to run: a job as the command line describes it."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from launch.plan import Commands

# For the way to the next consolidation point and a checkpoint. What cannot stop then is killed.
DEFAULT_GRACE = 60.0
DEFAULT_HANG_TIMEOUT = 1800.0
DEFAULT_NODE_TIMEOUT = 600.0

_SCHEDULER = (sys.executable, "-m", "launch.scheduler")


def local_run_folder(run_dir: str) -> Path:
    """Returns the folder on this machine in which a run works whose run folder is ``run_dir``.

    One in object storage is mirrored in ``runs/<bucket>/<key>``. The training program has the same
    rule (``train.storage.local_run_folder``).
    """
    remote = run_dir.startswith(("s3://", "obs://"))
    return Path("runs", run_dir.partition("://")[2]) if remote else Path(run_dir)


@dataclass(frozen=True)
class Job:
    """A job, seen from one of its nodes.

    Attributes:
        worker_command: what every rank runs.
        run_dir: the run folder; the logs go to its ``logs`` folder.
        nproc: number of ranks on this node, None for one per device.
        nnodes: number of nodes, None for one, or as many as a rank table has.
        node_rank: number of this node, None to find it in the rank table.
        master: host of node 0, where the launchers meet.
        control_port: the port they meet on, None to derive it from the job's name.
        master_port: port of MindSpore's scheduler, None for a free one.
        rank_table: file to start from instead of MindSpore's scheduler.
        max_restarts: how often the whole job may be started again after a failure.
        grace: seconds between passing a signal on and killing what is left.
        hang_timeout: seconds without progress after which the ranks count as dead; 0: never.
        node_timeout: seconds that the launchers wait for each other at the start.
        scheduler_command: what the scheduler of a job of several ranks runs.
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
    max_restarts: int = 0
    grace: float = DEFAULT_GRACE
    hang_timeout: float = DEFAULT_HANG_TIMEOUT
    node_timeout: float = DEFAULT_NODE_TIMEOUT
    scheduler_command: Sequence[str] = field(default=_SCHEDULER)

    @property
    def commands(self) -> Commands:
        """What workers and scheduler run."""
        return Commands(self.worker_command, self.scheduler_command)

"""The last upload of a job: what its ranks on this node have left, whatever their end."""

import os
import signal

from launch.job import Job
from launch.supervisor.child_process import Signals, shell_code, start_program, wait_for
from train.errors import USER_ERROR
from train.process.signals import REQUESTS, STOP


def upload_rest(job: Job, code: int, signals: Signals, since: float | None = None) -> int:
    """Bring to object storage what is missing there (``train.run.last_upload``).

    Nothing is done where the run folder is on this machine, and after a mistake of the user's. A
    signal does not end the upload, but Ctrl-C does.

    Args:
        job: The job that has ended.
        code: Its exit code.
        signals: The signals of this process, held back.
        since: When the job began, on the node whose ranks write results; None for logs alone.

    Returns:
        The exit code, which changes only if the job succeeded and its results have to be there.
    """
    if job.upload_command is None or code == USER_ERROR:
        return code
    options = [] if since is None else ["--since", str(since)]
    ignored = (*STOP, *REQUESTS)  # which may come to every process of the job
    upload = start_program([*job.upload_command, *options], os.environ, ignored=ignored)
    while upload.poll() is None:
        if wait_for(upload, signals) == signal.SIGINT:
            upload.kill()
    return code or shell_code(upload.wait())

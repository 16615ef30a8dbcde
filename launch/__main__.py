"""python -m launch CONFIG [key.sub=value ...]: trains on all devices of one or several nodes."""

import os
import signal
import sys
from collections.abc import Sequence

from launch.arguments import parse
from launch.dry_run import print_plan
from launch.foreign_starter import foreign_starter
from launch.kubernetes.place import forget_roles
from launch.run import run_job
from train.errors import USER_ERROR, UserError, error_text


def main(argv: Sequence[str]) -> int:
    """Run the launcher and return its exit code."""
    try:
        arguments = parse(argv)
        job = arguments.job
        forget_roles(os.environ)
        if arguments.dry_run:
            print_plan(job, arguments.as_json)
            return 0
        if starter := foreign_starter(os.environ):
            print(f"started by {starter}: training takes the place of the launcher", flush=True)
            os.execv(job.worker_command[0], list(job.worker_command))
        return run_job(job)
    except UserError as error:
        print(error_text(error), file=sys.stderr)
        return USER_ERROR
    except KeyboardInterrupt:  # before the job has started: from then on it is waited for
        return 128 + signal.SIGINT


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

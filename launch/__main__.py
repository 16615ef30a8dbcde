"""python -m launch CONFIG [key.sub=value ...]: trains on all devices of one or several nodes."""

import os
import sys
from collections.abc import Sequence

import train.process.signals
import train.program.requirements  # noqa: F401  ends here, in one line, where something is not installed
from launch.arguments import parse
from launch.dry_run import print_plan
from launch.foreign_starter import foreign_starter
from launch.kubernetes.place import forget_roles
from launch.preflight import check_job
from launch.run import run_job
from train.program.ending import exit_code, outlive_output


def main(argv: Sequence[str]) -> int:
    """Run the launcher and return its exit code."""
    return exit_code(lambda: _run(argv))


def _run(argv: Sequence[str]) -> int:
    arguments = parse(argv)
    job = arguments.job
    forget_roles(os.environ)
    if arguments.dry_run:
        print_plan(job, arguments.as_json, check_job(arguments))
        return 0
    outlive_output()
    if starter := foreign_starter(os.environ):
        print(f"started by {starter}: training takes the place of the launcher", flush=True)
        os.execv(job.worker_command[0], list(job.worker_command))
    check_job(arguments)
    return run_job(job)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""python -m launch CONFIG [key.sub=value ...]: trains on all devices of this machine."""

import signal
import sys
from collections.abc import Sequence

from launch.arguments import Arguments, parse
from launch.errors import USER_ERROR_EXIT_CODE, USER_ERROR_PREFIX, UserError
from launch.job import Job, print_plan, run_job


def worker_command(arguments: Arguments) -> list[str]:
    """Returns what every rank runs: the training program with the run folder made explicit."""
    settings = [*arguments.overrides, f"run_dir={arguments.run_dir}"]
    return [sys.executable, "-m", "train", str(arguments.config), *settings]


def main(argv: Sequence[str]) -> int:
    """Runs the launcher and returns its exit code."""
    try:
        arguments = parse(argv)
        job = Job(
            worker_command=worker_command(arguments),
            run_dir=arguments.run_dir,
            nproc=arguments.nproc,
            master_port=arguments.master_port,
            grace=arguments.grace,
        )
        return print_plan(job) if arguments.dry_run else run_job(job)
    except UserError as error:
        print(f"{USER_ERROR_PREFIX}{error}", file=sys.stderr)
        return USER_ERROR_EXIT_CODE
    except KeyboardInterrupt:  # before the job has started: from then on it is waited for
        return 128 + signal.SIGINT


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

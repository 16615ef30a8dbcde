"""python -m launch.mpi CONFIG [key.sub=value ...]: trains under OpenMPI's mpirun."""

import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence

import train.process.signals
import train.program.requirements  # noqa: F401  ends here, in one line, where something is not installed
from launch.arguments import parse
from launch.foreign_starter import foreign_starter
from launch.job import DEFAULT_GRACE
from launch.last_upload import upload_rest
from launch.log_folders import log_folder, next_attempt
from launch.mpi.mpirun import plan, run
from launch.plan.machine import this_machine
from launch.preflight import check_job
from launch.supervisor.child_process import Signals
from train.errors import UserError
from train.program.ending import exit_code, outlive_output
from train.storage.secrets import shown_words

_HELP = f"""\
usage: python -m launch.mpi [options] CONFIG [key.sub=value ...]

Trains with one process per NPU, or, without NPUs, per processor core (at most 8), started by
OpenMPI's mpirun. On CPU the ranks are connected by MPI, on NPUs by HCCL.

  nproc=N         number of ranks on all hosts together
  run_dir=PATH    the run folder
  --grace S       seconds a signal leaves the ranks to save a checkpoint and end
                  (default: {DEFAULT_GRACE:g})
  --dry-run       print the command, start nothing

MPIRUN_OPTIONS    variable: options for mpirun, in place of the choice of cores made here; for
                  instance "--hostfile hosts --map-by ppr:8:node:PE=4"

exit code: 0 success; 2 a mistake in what was asked for; 128+N ended by signal N; otherwise that
of the rank that failed first.
"""

_OPTIONS = ("--nproc", "--grace", "--dry-run")


def main(argv: Sequence[str]) -> int:
    """Start the job and return its exit code."""
    return exit_code(lambda: _run(argv))


def _run(argv: Sequence[str]) -> int:
    if {"-h", "--help"} & set(argv):
        print(_HELP, end="")
        return 0
    _require_known_options(argv)
    arguments = parse(argv)
    job = arguments.job
    notes = check_job(arguments)
    log_dir = log_folder(job.run_dir, next_attempt(job.run_dir))
    start = plan(job, log_dir, this_machine(), os.environ)
    if arguments.dry_run:
        print(shlex.join(shown_words(start.command)))
        for note in notes:
            print(f"# note: {note}")
        return 0
    _require_open_mpi(os.environ)
    outlive_output()
    print(f"starting under mpirun, logs in {log_dir}", flush=True)
    began = time.time()
    with Signals() as signals:
        return upload_rest(job, run(start, job.grace, signals), signals, began)


def _require_known_options(argv: Sequence[str]) -> None:
    for word in argv:
        if word.startswith("-") and word.partition("=")[0] not in _OPTIONS:
            raise UserError(
                f"run_mpi.sh has no option {word} (see --help; options of mpirun go into the "
                "variable MPIRUN_OPTIONS)"
            )


def _require_open_mpi(environment: Mapping[str, str]) -> None:
    if starter := foreign_starter(environment):
        raise UserError(
            f"this is started by {starter}, already: let that mpirun start python -m train itself"
        )
    path = shutil.which("mpirun")
    if path is None:
        raise UserError(
            "mpirun is not on the PATH: install OpenMPI (Debian, Ubuntu: apt install openmpi-bin)"
        )
    version = subprocess.run([path, "--version"], capture_output=True, text=True, check=False)
    if "Open MPI" not in version.stdout:
        raise UserError(
            f"{path} is not OpenMPI's: put that first on the PATH, or start python -m train with "
            "your mpirun yourself"
        )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

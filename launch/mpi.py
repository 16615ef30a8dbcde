"""python -m launch.mpi CONFIG [key.sub=value ...]: trains under OpenMPI's mpirun."""

import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence

from launch import outer
from launch.arguments import parse
from launch.attempt import log_folder, next_attempt
from launch.child import die_with
from launch.description import DEFAULT_GRACE
from launch.devices import this_machine
from launch.mpi_plan import Start, plan
from launch.signals import Signals
from train.errors import USER_ERROR, UserError, error_text

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

# mpirun acts on TERM itself: it leaves the ranks one second. This one it hands to them.
STOP = signal.SIGUSR2
# Between TERM to mpirun and KILL: mpirun needs two for its own way of ending the ranks.
_SECONDS_FOR_MPIRUN = 10.0
_LONGEST_SLEEP = 3600.0


def run(start: Start, grace: float) -> int:
    """Runs mpirun to its end; the exit code.

    TERM, INT and HUP are handed to the ranks, which save a checkpoint and end. After the time of
    grace, or a second signal, mpirun ends them.
    """
    with Signals() as signals:
        process = subprocess.Popen(
            start.command,
            env=dict(start.environment),
            stdin=subprocess.DEVNULL,
            start_new_session=True,  # so that Ctrl-C in a terminal comes here alone
            preexec_fn=_settle_in(os.getpid()),
        )
        received = _wait(process, signals, float("inf"))
        if received is not None:
            process.send_signal(STOP)
            _wait(process, signals, grace)
            if process.poll() is None:
                process.terminate()
                _wait(process, signals, _SECONDS_FOR_MPIRUN)
            if process.poll() is None:
                process.kill()
        code = process.wait()
    if received is not None:
        return 128 + received
    return code if code >= 0 else 128 - code


def _wait(process: subprocess.Popen[bytes], signals: Signals, seconds: float) -> int | None:
    """Waits for the end of a process, at most so long; the signal to stop that came before it."""
    deadline = time.monotonic() + seconds
    while process.poll() is None and (left := deadline - time.monotonic()) > 0:
        if (received := signals.wait(min(left, _LONGEST_SLEEP))) is not None:
            return received
    return None


def _settle_in(launcher: int) -> Callable[[], None]:
    # TERM: mpirun then ends its ranks.
    tie = die_with(launcher, signal.SIGTERM)

    def settle_in() -> None:
        tie()
        signal.pthread_sigmask(signal.SIG_SETMASK, ())

    return settle_in


def main(argv: Sequence[str]) -> int:
    """Starts the job and returns its exit code."""
    if {"-h", "--help"} & set(argv):
        print(_HELP, end="")
        return 0
    try:
        _require_known_options(argv)
        arguments = parse(argv)
        job = arguments.job
        log_dir = log_folder(job.run_dir, next_attempt(job.run_dir))
        start = plan(job.worker_command, job.nproc, log_dir, this_machine(), os.environ)
        if arguments.dry_run:
            print(shlex.join(start.command))
            return 0
        _require_open_mpi(os.environ)
        print(f"starting under mpirun, logs in {log_dir}", flush=True)
        return run(start, job.grace)
    except UserError as error:
        print(error_text(error), file=sys.stderr)
        return USER_ERROR


def _require_known_options(argv: Sequence[str]) -> None:
    for word in argv:
        if word.startswith("-") and word.partition("=")[0] not in _OPTIONS:
            raise UserError(
                f"run_mpi.sh has no option {word} (see --help; options of mpirun go into the "
                "variable MPIRUN_OPTIONS)"
            )


def _require_open_mpi(environment: Mapping[str, str]) -> None:
    if starter := outer.starter(environment):
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

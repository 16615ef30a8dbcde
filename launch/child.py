"""Starting one process so that it can neither outlive the launcher nor catch its signals."""

import contextlib
import ctypes
import os
import signal
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

from launch.plan import Process

_PR_SET_PDEATHSIG = 1
# Loaded here: between fork and exec nothing but plain calls is safe.
_libc = ctypes.CDLL(None, use_errno=True)

# Signals the launcher blocks or may have inherited as ignored: a child starts with the
# kernel's own handling of them.
_RESET = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)


def start(process: Process, variables: Mapping[str, str], log_dir: Path) -> subprocess.Popen[bytes]:
    """Starts a process in its own session, with its log and further variables.

    Rank 0 keeps the launcher's standard output, where it draws the progress.

    Raises:
        OSError: it cannot be started.
    """
    with (log_dir / process.log_name).open("ab") as log:
        return subprocess.Popen(
            process.command,
            env={**os.environ, **process.variables, **variables},
            stdin=subprocess.DEVNULL,
            stdout=None if process.rank == 0 else log,
            stderr=log,
            start_new_session=True,
            preexec_fn=_settle_in(process, os.getpid()),
        )


def die_with(parent: int, number: int = signal.SIGKILL) -> Callable[[], None]:
    """Returns what makes a child get a signal when its parent dies, however that dies.

    To be called in the child between fork and exec.

    Args:
        parent: the process that starts it.
        number: the signal.
    """

    def prepare() -> None:
        _libc.prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)
        if os.getppid() != parent:  # it died before the line above
            os.kill(os.getpid(), signal.SIGKILL)

    return prepare


def _settle_in(process: Process, launcher: int) -> Callable[[], None]:
    """Returns what the child does to itself between fork and exec."""
    tie = die_with(launcher)

    def settle_in() -> None:
        tie()
        # These two only bring speed: where a container forbids them the job runs without.
        with contextlib.suppress(OSError):
            if process.cores is not None:
                os.sched_setaffinity(0, process.cores)
        with contextlib.suppress(OSError):
            if process.batch and os.sched_getscheduler(0) == os.SCHED_OTHER:
                os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
        for number in _RESET:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _RESET)

    return settle_in


def has_ended(popen: subprocess.Popen[bytes]) -> bool:
    """Says whether a process has ended, without collecting it.

    As long as it is not collected its number cannot be given to another process, so that a
    signal to its group cannot hit a stranger.
    """
    options = os.WEXITED | os.WNOHANG | os.WNOWAIT
    return os.waitid(os.P_PID, popen.pid, options) is not None


def kill_group(popen: subprocess.Popen[bytes]) -> None:
    """Kills a process that is not collected yet and all it has started, and collects it."""
    if popen.returncode is None:
        os.killpg(popen.pid, signal.SIGKILL)
        popen.wait()

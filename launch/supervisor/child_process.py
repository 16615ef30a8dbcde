"""Processes that can neither outlive the launcher nor catch its signals, and waiting for both."""

import contextlib
import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from launch.plan.processes import Process
from train.environment import hide_rank_table
from train.process.signals import REQUESTS, STOP

Popen = subprocess.Popen[bytes]

# Loaded here: between fork and exec nothing but plain calls is safe.
_libc = ctypes.CDLL(None, use_errno=True)

# Signals the launcher blocks or may have inherited as ignored: a child starts with the
# kernel's own handling of them.
_RESET = (*STOP, *REQUESTS, signal.SIGCHLD)
_LONGEST_SLEEP = 3600.0


class Signals:
    """Holds signals back to be waited for, so that none is missed and none cuts in.

    INT and HUP stay ignored if they were at the start: that is how nohup and a shell's background
    jobs ask for it.
    """

    def __enter__(self) -> "Signals":
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # if ignored, exit codes would get lost
        optional = (signal.SIGINT, signal.SIGHUP)
        self._stop = {
            number
            for number in STOP
            if number not in optional or signal.getsignal(number) != signal.SIG_IGN
        }
        self._requests: set[int] = set()
        self._all = {*self._stop, *REQUESTS, signal.SIGCHLD}
        self._before = signal.pthread_sigmask(signal.SIG_BLOCK, self._all)
        return self

    def __exit__(self, *_: object) -> None:
        # The job has ended, and what comes now must not change its exit code: srun, for one, sends
        # TERM to the launchers that are left when the first has ended.
        for number in (*self._stop, *REQUESTS):
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_SETMASK, self._before)

    def wait(self, seconds: float) -> int | None:
        """Sleep until a signal comes, at most so long; return the one that means "stop"."""
        info = signal.sigtimedwait(self._all, max(0.0, seconds))
        if info and info.si_signo in REQUESTS:
            self._requests.add(info.si_signo)
        return info.si_signo if info and info.si_signo in self._stop else None

    def take_requests(self) -> set[int]:
        """Return the requests to the ranks that have come since this was asked last."""
        taken, self._requests = self._requests, set()
        return taken


def start_rank(process: Process, variables: Mapping[str, str], log_dir: Path) -> Popen:
    """Start a process of the plan in its own session, with its log and further variables.

    Rank 0 keeps the launcher's standard output, where it draws the progress. Requests are held
    back until the process listens to them (:mod:`train.process.signals`).

    Raises:
        OSError: It cannot be started.
    """

    def use_cores() -> None:
        # These two only bring speed: where a container forbids them the job runs without.
        with contextlib.suppress(OSError):
            if process.cores is not None:
                os.sched_setaffinity(0, process.cores)
        with contextlib.suppress(OSError):
            if process.batch and os.sched_getscheduler(0) == os.SCHED_OTHER:
                os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))

    environment = {**os.environ, **process.variables, **variables}
    hide_rank_table(environment)
    with (log_dir / process.log_name).open("ab") as log:
        return subprocess.Popen(
            process.command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=None if process.rank == 0 else log,
            stderr=log,
            start_new_session=True,
            preexec_fn=_settle_in(signal.SIGKILL, held_back=REQUESTS, prepare=use_cores),
        )


def start_program(
    command: Sequence[str],
    environment: Mapping[str, str],
    dies_by: int = signal.SIGKILL,
    ignored: Collection[int] = REQUESTS,
) -> Popen:
    """Start a program with these variables alone, which shares the launcher's output.

    Args:
        command: The program and its arguments.
        environment: All of its variables.
        dies_by: The signal that it gets if the launcher dies.
        ignored: The signals that do not end it unless it wants them to.
    """
    return subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        start_new_session=True,  # so that Ctrl-C in a terminal comes to the launcher alone
        preexec_fn=_settle_in(dies_by, ignored),
    )


def wait_for(
    program: Popen,
    signals: Signals,
    seconds: float = float("inf"),
    handed_on: Collection[int] = (),
) -> int | None:
    """Wait for the end of a program, at most so long; return a signal to stop that came before.

    Of the requests that come meanwhile it gets those that are to be handed on.
    """
    deadline = time.monotonic() + seconds
    while program.poll() is None and (left := deadline - time.monotonic()) > 0:
        received = signals.wait(min(left, _LONGEST_SLEEP))
        for number in signals.take_requests().intersection(handed_on):
            program.send_signal(number)
        if received is not None:
            return received
    return None


def _settle_in(
    dies_by: int,
    ignored: Collection[int] = (),
    held_back: Collection[int] = (),
    prepare: Callable[[], None] = lambda: None,
) -> Callable[[], None]:
    """Return what a child does to itself between fork and exec."""
    launcher = os.getpid()

    def settle_in() -> None:
        _libc.prctl(1, dies_by, 0, 0, 0)  # PR_SET_PDEATHSIG
        if os.getppid() != launcher:  # it died before the line above
            os.kill(os.getpid(), signal.SIGKILL)
        prepare()
        for number in _RESET:
            signal.signal(number, signal.SIG_IGN if number in ignored else signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, set(_RESET).difference(held_back))

    return settle_in


def has_ended(popen: Popen) -> bool:
    """Return whether a process has ended, without collecting it.

    As long as it is not collected its number cannot be given to another process, so that a
    signal to its group cannot hit a stranger.
    """
    options = os.WEXITED | os.WNOHANG | os.WNOWAIT
    return os.waitid(os.P_PID, popen.pid, options) is not None


def kill_group(popen: Popen) -> None:
    """Kill a process that is not collected yet and all it has started, and collect it."""
    if popen.returncode is None:
        os.killpg(popen.pid, signal.SIGKILL)
        popen.wait()


def shell_code(returncode: int) -> int:
    """Return the exit code a shell would report: 128 + N after signal N."""
    return returncode if returncode >= 0 else 128 - returncode

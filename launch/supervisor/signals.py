"""Waiting for signals: to stop, or because a process of ours has ended."""

import signal


class Signals:
    """Holds signals back to be waited for, so that none is missed and none cuts in.

    Those that mean "stop" are TERM, INT and HUP. One that was ignored at the start stays ignored:
    that is how nohup and a shell's background jobs ask for it.
    """

    def __enter__(self) -> "Signals":
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # if ignored, exit codes would get lost
        optional = (signal.SIGINT, signal.SIGHUP)
        self._stop = {signal.SIGTERM} | {
            number for number in optional if signal.getsignal(number) != signal.SIG_IGN
        }
        self._all = self._stop | {signal.SIGCHLD}
        self._before = signal.pthread_sigmask(signal.SIG_BLOCK, self._all)
        return self

    def __exit__(self, *_: object) -> None:
        # The job has ended, and what comes now must not change its exit code: srun, for one, sends
        # TERM to the launchers that are left when the first has ended.
        for number in self._stop:
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_SETMASK, self._before)

    def wait(self, seconds: float) -> int | None:
        """Sleep until a signal comes, at most so long; return the one that means "stop"."""
        info = signal.sigtimedwait(self._all, max(0.0, seconds))
        return info.si_signo if info and info.si_signo in self._stop else None

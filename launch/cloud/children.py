"""Programs that run for this process, one at a time, and the signals for them."""

import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import FrameType

from launch.child import die_with


class Children:
    """Starts programs and passes TERM and INT on to the one that runs.

    While none runs, a signal ends this process, until :attr:`persist` is set.

    Args:
        folder: where they run.

    Attributes:
        persist: whether this process goes on after a signal, since results are to be saved.
        received: the last signal that came.
    """

    def __init__(self, folder: Path) -> None:
        self.persist = False
        self.received: int | None = None
        self._folder = folder
        self._child: subprocess.Popen[str] | None = None
        for number in (signal.SIGTERM, signal.SIGINT):
            if signal.getsignal(number) != signal.SIG_IGN:  # as nohup and "&" ask for
                signal.signal(number, self._pass_on)

    def run(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        every: float = 0,
        then: Callable[[], object] = lambda: None,
    ) -> int:
        """Runs a program to its end; its exit code, 128 + N if signal N ended it.

        Args:
            command: the program.
            environment: all of its variables.
            every: seconds between calls of ``then`` while it runs, 0 for none.
            then: what to do besides.
        """
        self._child = self._start(command, environment)
        if self.received is not None:  # while it was being started
            self._child.send_signal(self.received)
        try:
            while True:
                try:
                    return exit_code(self._child.wait(every or None))
                except subprocess.TimeoutExpired:
                    then()
        finally:
            self._child = None

    def ask(
        self, command: Sequence[str], environment: Mapping[str, str], seconds: float
    ) -> tuple[int, str]:
        """Runs a program; its exit code and what it wrote to standard error.

        Args:
            command: the program.
            environment: all of its variables.
            seconds: how long it may take.

        Raises:
            subprocess.TimeoutExpired: it took longer, and has been killed.
        """
        self._child = self._start(command, environment, stderr=subprocess.PIPE)
        try:
            errors = self._child.communicate(timeout=seconds)[1]
            return exit_code(self._child.returncode), errors
        finally:
            self._child.kill()
            self._child = None

    def finish(self, command: Sequence[str], environment: Mapping[str, str]) -> int:
        """Runs a program that no signal for this process shall end; its exit code."""
        return exit_code(self._start(command, environment).wait())

    def _start(
        self, command: Sequence[str], environment: Mapping[str, str], stderr: int | None = None
    ) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            command,
            cwd=self._folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stderr=stderr,
            text=True,
            # In a session of its own, so that a signal for our group does not reach it twice.
            start_new_session=True,
            preexec_fn=die_with(os.getpid()),
        )

    def _pass_on(self, number: int, _: FrameType | None) -> None:
        self.received = number
        if self._child is not None:
            self._child.send_signal(number)
        elif not self.persist:
            raise SystemExit(128 + number)


def exit_code(returncode: int) -> int:
    """The exit code that tells of a program's end what a shell would tell."""
    return returncode if returncode >= 0 else 128 - returncode

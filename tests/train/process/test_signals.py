"""Signals of a process that does not train: not yet, or not any more."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.paths import ROOT
from train.process.save import SaveRequests
from train.process.signals import REQUESTS, SAVE, STOP

# Is started as the programs of a job are, so that its requests are held back.
PROGRAM = """
import train.process.signals
import os, signal, sys
def send(*numbers):
    for number in numbers:
        os.kill(os.getpid(), number)
"""


def start(folder: Path, text: str) -> "subprocess.Popen[str]":
    package = folder / "launch"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text(PROGRAM + text)
    # Its own folder comes before ours on the path.
    return subprocess.Popen(
        [sys.executable, "-m", "launch"],
        cwd=folder,
        env={"PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_requests_are_held_back_until_they_are_listened_to(tmp_path: Path) -> None:
    program = start(
        tmp_path,
        """
send(signal.SIGUSR1, signal.SIGQUIT)
from train.process.health import explain_crashes
from train.process.save import save_requests
print(save_requests.take())
explain_crashes()
save_requests.listen()
print(save_requests.take(), save_requests.take())
""",
    )
    out, err = program.communicate()
    assert (program.returncode, out) == (0, "False\nTrue False\n")
    assert "Current thread" in err


def test_nothing_changes_the_exit_code_of_a_process_that_is_done(tmp_path: Path) -> None:
    """It reads a character after Python has ended, as MindSpore's own end would take a while."""
    program = start(
        tmp_path,
        """
import ctypes
from train.process.health import explain_crashes
from train.process.save import save_requests
explain_crashes()
save_requests.listen()
libc = ctypes.CDLL(None)
libc.__cxa_atexit(libc.getchar, None, None)
train.process.signals.ignore()
""",
    )
    syscall = Path("/proc", str(program.pid), "syscall")
    while not syscall.read_text().startswith("0 0x0 "):  # read(0, ...
        assert program.poll() is None
        time.sleep(0.01)
    for number in (*STOP, *REQUESTS):
        program.send_signal(number)
    _, err = program.communicate("x")
    assert (program.returncode, err) == (0, "")


def test_every_request_counts_once() -> None:
    before = signal.getsignal(SAVE)
    requests = SaveRequests()
    requests.listen()
    try:
        assert not requests.take()
        for _ in range(2):
            signal.raise_signal(SAVE)
        assert requests.take() and not requests.take()
        signal.raise_signal(SAVE)
        assert requests.take()
    finally:
        signal.signal(SAVE, before)


@pytest.mark.parametrize("number", REQUESTS)
def test_tests_have_signals_of_their_own(number: signal.Signals) -> None:
    """Who imports a program of ours is not one."""
    import launch.__main__  # noqa: F401

    assert number not in signal.pthread_sigmask(signal.SIG_BLOCK, ())

"""What signals ask of a job, the same for every process of it (docs/launch/signals.md).

The programs of a job import this before anything else. Needs the standard library only.
"""

import ctypes
import faulthandler
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

# The job saves at its next consolidation point, and ends. mpirun, which acts on the others itself,
# hands USR2 to its ranks.
STOP = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR2)
# It saves there, and goes on: schedulers warn with it.
SAVE = signal.SIGUSR1
# Every rank writes the Python stacks of its threads to its log, and goes on: as JVMs do.
STACKS = signal.SIGQUIT
# By themselves they would end a process, but they end no job.
REQUESTS = (SAVE, STACKS)


def ignore() -> None:
    """Let no signal change the exit code of a process that is done.

    MindSpore's own end takes a while, and Python gives up its handlers at the beginning of it.
    """
    faulthandler.unregister(STACKS)
    for number in (*STOP, *REQUESTS):
        signal.signal(number, signal.SIG_IGN)


@contextmanager
def interrupt_kept() -> Iterator[None]:
    """Give INT its handler back after a graph has run; from any thread.

    With every graph that it runs, MindSpore puts one of its own there, which sends this process
    TERM. What comes while the graph runs does become a TERM.
    """
    libc = ctypes.CDLL(None)
    handler = ctypes.create_string_buffer(256)  # more than a struct sigaction, 152 bytes on Linux
    libc.sigaction(signal.SIGINT, None, handler)
    try:
        yield
    finally:
        libc.sigaction(signal.SIGINT, handler, None)


# Until this process can do what they ask: imports take seconds. Tests and tools, which import parts
# of these programs, have signals of their own.
_main = getattr(sys.modules["__main__"], "__spec__", None)
if _main is not None and _main.name.partition(".")[0] in ("train", "launch"):
    signal.pthread_sigmask(signal.SIG_BLOCK, REQUESTS)

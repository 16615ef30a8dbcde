"""What signals ask of a job, the same for every process of it (docs/launch/signals.md).

The programs of a job import this before anything else. Needs the standard library only.
"""

import faulthandler
import signal
import sys

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


# Until this process can do what they ask: imports take seconds. Tests and tools, which import parts
# of these programs, have signals of their own.
_main = getattr(sys.modules["__main__"], "__spec__", None)
if _main is not None and _main.name.partition(".")[0] in ("train", "launch"):
    signal.pthread_sigmask(signal.SIG_BLOCK, REQUESTS)

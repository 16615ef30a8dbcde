"""What the scheduler of MindSpore's dynamic cluster runs: python -m launch.scheduler.

It brings the workers together, passes their addresses on, and ends when they have gone.
"""

import signal

from train.process.signals import REQUESTS, STOP


def main() -> None:
    """Serve until the last worker has unregistered; the role comes from MS_ROLE=MS_SCHED."""
    # A job manager may signal every process of a job, and the workers need us until they have
    # saved their state. The launcher ends us in any case.
    for number in (*STOP, *REQUESTS):
        signal.signal(number, signal.SIG_IGN)
    # Takes seconds. The launcher's own process never does it.
    from mindspore.communication import init

    init()


if __name__ == "__main__":
    main()

"""What the scheduler of MindSpore's dynamic cluster runs: python -m launch.scheduler.

It brings the workers together, passes their addresses on, and ends when they have gone.
"""

# The launcher's own process never loads this module.
from mindspore.communication import init


def main() -> None:
    """Serves until the last worker has unregistered; the role comes from MS_ROLE=MS_SCHED."""
    init()


if __name__ == "__main__":
    main()

"""``python -m launch``, whose ranks are those of the drill."""

import sys
from collections.abc import Sequence
from dataclasses import replace

from launch import __main__ as launcher
from launch.arguments import Arguments, parse


def _with_drilled_ranks(argv: Sequence[str]) -> Arguments:
    arguments = parse(argv)
    command = list(arguments.job.worker_command)
    command[command.index("train")] = "tools.drill.rank"
    return arguments._replace(job=replace(arguments.job, worker_command=command))


if __name__ == "__main__":
    vars(launcher)["parse"] = _with_drilled_ranks
    sys.exit(launcher.main(sys.argv[1:]))

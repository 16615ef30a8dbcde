"""``python -m launch``, whose ranks are those of the drill."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from tools.drill.hooks import run_changed


def _with_drilled_ranks(arguments: Any) -> None:
    """Change :mod:`launch.arguments`."""
    parse: Callable[[Sequence[str]], Any] = arguments.parse

    def parse_and_replace(argv: Sequence[str]) -> Any:
        given = parse(argv)
        command = list(given.job.worker_command)
        command[command.index("train")] = "tools.drill.rank"
        return given._replace(job=replace(given.job, worker_command=command))

    arguments.parse = parse_and_replace


if __name__ == "__main__":
    run_changed("launch", {"launch.arguments": _with_drilled_ranks})

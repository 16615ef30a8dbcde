"""python -m tools watch: how far a run is, on this machine or in object storage."""

import argparse
import sys
import time

from tools.common.command_line import describe
from train.errors import FAILURE, UserError, error_text
from train.storage.retry import StorageError

_EPILOG = """\
It ends with the run, or with Ctrl-C, and does nothing to the run. A run in object storage uploads
its metrics every half minute (storage.upload_every)."""
_EVERY, _EVERY_REMOTE = 2.0, 15.0
_INTERRUPTED = 130


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    describe(
        parser,
        "Show how far a run is: steps, time left, losses, figures on val, speed, warnings.",
        _EPILOG,
    )
    add = parser.add_argument
    add("run", metavar="RUN", help="run folder, or its address in object storage")
    add("--once", action="store_true", help="show it once, and end")
    add(
        "--every",
        metavar="SECONDS",
        type=float,
        help=f"look again after so long (default: {_EVERY:g}; in object storage {_EVERY_REMOTE:g})",
    )


def run(arguments: argparse.Namespace, argv: list[str]) -> int:
    """Run the command; return the exit code."""
    try:
        return _watch(arguments.run, arguments.once, arguments.every)
    except KeyboardInterrupt:
        return _INTERRUPTED
    except StorageError as error:
        print(error_text(error), file=sys.stderr, flush=True)
        return FAILURE


def _watch(place: str, once: bool, every: float | None) -> int:
    from rich.console import Console
    from rich.live import Live

    from tools.watch.source import Source
    from tools.watch.view import headline, view
    from train.program.tables import terminal_width

    if every is not None and not every >= 0.1:
        raise UserError(f"--every {every:g}: must be at least 0.1")
    source = Source(place)
    pause = every or (_EVERY_REMOTE if source.is_remote else _EVERY)
    console = Console(width=terminal_width() or 120, highlight=False)
    state = source.state()
    if once or state.summary is not None:
        console.print(view(state, place))
        return 0
    if not console.is_terminal:
        told = ""
        while True:
            if (line := headline(state, place)) != told:
                print(told := line, flush=True)
            if state.summary is not None:
                console.print(view(state, place))
                return 0
            time.sleep(pause)
            state = source.state()
    with Live(view(state, place), console=console, auto_refresh=False) as live:
        while state.summary is None:
            time.sleep(pause)
            state = source.state()
            live.update(view(state, place), refresh=True)
    return 0

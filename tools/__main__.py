"""python -m tools COMMAND ...: everything around training that is run by hand."""

import importlib
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import train.program.requirements  # noqa: F401  ends here, in one line, where something is not installed
from tools.common.utf8_names import restart_with_utf8_names
from train.environment import prepare_for_mindspore
from train.program.command_line import Parser, command_of
from train.program.ending import exit_code

# What each command does; its module has add_arguments(parser) and run(arguments, argv).
COMMANDS = {
    "download": "fetch a known public data set",
    "prepare": "turn a folder of pictures into records",
    "describe": "look at prepared data sets: tables and contact sheets",
    "verify": "check prepared data sets from end to end",
    "predict": "say what a trained network sees in pictures and scenes",
    "report": "write one page on a run, or on several: curves, figures, mistakes, attention",
    "serve": "answer for a trained network: a page to try it with, and JSON",
    "compare": "compare completed runs, with the gain over single-task ones",
    "export": "write the network of a run for ONNX, MindSpore or PyTorch, with a model card",
    "watch": "show how far a run is, on this machine or in object storage",
    "copy": "copy folders between this machine and object storage",
    "demo-data": "make three small generated data sets to try things with",
    "plan-scale": "predict step time and efficiency on many devices",
    "ascend-check": "compile, select and count a step for an Ascend chip, without one",
    "drill": "hit real runs by faults, from kill -9 to a full disk, and see what survives",
    "bench": "measure the speed, side by side with other programs",
    "doctor": "check the installation and this machine",
}


def main(argv: list[str] | None = None) -> int:
    """Run a command; return the exit code: 0, 2 for a mistake of the user's, 130 for Ctrl-C."""
    return exit_code(lambda: _run(sys.argv[1:] if argv is None else argv))


def _run(argv: list[str]) -> int:
    # Only the command is parsed here, so that only the command's own module is imported.
    command = command_of("python -m tools", "Tools around training.", COMMANDS, argv)
    prepare_for_mindspore()
    module = importlib.import_module(f"tools.{command.replace('-', '_')}")
    own = Parser(prog=f"python -m tools {command}")
    module.add_arguments(own)
    with _ended_by_signal():
        code: int = module.run(own.parse_args(argv[1:]), argv)
    return code


@contextmanager
def _ended_by_signal() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end the command as an exception would, so that it cleans up.

    What is ignored stays so: that is how nohup asks for it.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    both = (signal.SIGTERM, signal.SIGHUP)
    numbers = [number for number in both if signal.getsignal(number) != signal.SIG_IGN]
    before = [signal.signal(n, lambda number, frame: sys.exit(128 + number)) for n in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


if __name__ == "__main__":
    restart_with_utf8_names()
    sys.exit(main())
